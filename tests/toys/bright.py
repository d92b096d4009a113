"""Small pictures whose class can be told, and methods that look at them.

The picture of class c is grey but for its first row, whose c-th pixel is bright, and
some noise of its own.
"""

import jax.numpy as jnp
import numpy as np

from mdm.methods.base import Method

SIDE = 8


class Pictures:
  """A split of them, as the pipeline reads it."""

  shapes = None
  is_in_memory = True

  def __init__(self, split="train", *, count=60, num_classes=7, noise=10):
    rng = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[split])
    self.classes = tuple("abcdefgh"[:num_classes])
    self.labels = rng.integers(0, num_classes, count).astype(np.int32)
    image = rng.integers(100, 100 + noise, (count, SIDE, SIDE, 3))
    image[np.arange(count), 0, self.labels] += 100
    self.images = image.astype(np.uint8)

  def __len__(self):
    return len(self.labels)

  def facts(self):
    return {"num_classes": len(self.classes)}

  def describe(self):
    return {"num_examples": len(self)}

  def record(self, index):
    return {"image": self.images[index], "text": self.classes[self.labels[index]]}

  def draw(self, indices, places, seed):
    return self.fetch(indices)

  def fetch(self, indices):
    return {"image": self.images[indices], "label": self.labels[indices]}


class Looker(Method):
  """Tells the class by the brightest pixel; every `blind`-th (0: none) wrong."""

  blind: int = 0
  gain: float = 1.0

  def __call__(self, batch, *, train):
    raise NotImplementedError

  def classify(self, batch):
    row = jnp.asarray(batch["image"])[:, 0, :, 0].astype(jnp.float32)
    turned = row[:, ::-1]
    if not self.blind:
      return row
    return jnp.where((batch["index"] % self.blind == 0)[:, None], turned, row)

  def encode(self, batch, *, pool="mean"):
    x = jnp.asarray(batch["image"]).astype(jnp.float32) * self.gain
    return x[:, 0, :, 0] if pool == "cls" else x.reshape(len(x), -1)
