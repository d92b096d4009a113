"""The toy with a teacher: its network follows itself and predicts what it gave."""

import jax

from mdm.methods.base import mean_of
from toys import masked

WIDTH = 32


class Taught(masked.ToyMasked):
  """The toy; its network's teacher gives a second target."""

  def __call__(self, batch, *, train):
    means = super().__call__(batch, train=train)
    x = self.seen(batch)
    gap = self.network(x, train=False) - self.targets(x)
    return {
      "loss/nats": means["loss"],
      "loss/teacher": mean_of((gap**2).mean((1, 2)), batch["weight"]),
    }

  def seen(self, batch):
    """What both look at: tokens as one-hot rows, as large as the row says."""
    return jax.nn.one_hot(batch["tokens"], WIDTH) * batch["scale"][:, None, None]

  def targets(self, x):
    return self.by_teacher(self.network, x, train=False)

  def teacher_of(self, path):
    return path.startswith("network/")

  def teacher_decay(self, epoch):
    return 0.5 + 0.1 * epoch


class Headed(Taught):
  """A method of its own is asked, and one parameter has no teacher."""

  def targets(self, x):
    return self.by_teacher(self.double, x)

  def double(self, x):
    return 2 * self.network(x, train=False)

  def teacher_of(self, path):
    return super().teacher_of(path) and not path.endswith("bias")


class Untaught(Taught):
  """Asks a teacher that it does not have."""

  def teacher_of(self, path):
    return False
