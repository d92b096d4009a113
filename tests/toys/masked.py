"""A two-layer, width-32 masked model of short token rows, and its feed and config.

Every row has another number of masked tokens, so a mean of means would show.
"""

from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mdm.methods.base import Mean, Method, mean_of
from mdm.training import config
from mdm.training.feed import Feed

VOCAB, LENGTH = 16, 8


class Mixer(nn.Module):
  """Two layers that mix positions and channels."""

  width: int = 32
  depth: int = 2
  dropout: float = 0.1
  norm: str = "layer"

  @nn.compact
  def __call__(self, x, *, train):
    for i in range(self.depth):
      names = ("embed", "mlp") if i % 2 == 0 else ("mlp", "embed")
      init = nn.with_logical_partitioning(nn.initializers.lecun_normal(), names)
      y = nn.Dense(self.width, kernel_init=init, name=f"block_{i}")(x)
      y = nn.gelu(y + y.mean(1, keepdims=True))
      x = x + nn.Dropout(self.dropout, deterministic=not train)(y)
    if self.norm == "batch":
      return nn.BatchNorm(use_running_average=not train, name="norm")(x)
    return nn.LayerNorm(name="norm")(x)


class ToyMasked(Method):
  """Predicts hidden tokens; `two_terms` splits the loss into two, of unlike weights."""

  network: nn.Module
  vocab: int = VOCAB
  mask_ratio: float = 0.4
  two_terms: bool = False
  frozen: str = "none"

  @nn.compact
  def __call__(self, batch, *, train):
    tokens = batch["tokens"]
    hide = self.hide(batch) if train else jnp.zeros(tokens.shape, bool)
    init = nn.with_logical_partitioning(nn.initializers.normal(0.5), ("vocab", "embed"))
    embed = nn.Embed(
      self.vocab + 1, self.network.width, embedding_init=init, name="embed"
    )
    x = embed(jnp.where(hide, self.vocab, tokens))
    features = self.network(x * batch.get("scale", jnp.ones(len(x)))[:, None, None],
                            train=train)  # fmt: skip
    logits = embed.attend(features)[..., : self.vocab]
    nats = -jnp.take_along_axis(nn.log_softmax(logits), tokens[..., None], -1)[..., 0]
    weight = batch["weight"][:, None] * hide
    terms = {"loss": mean_of(nats, weight)}
    if self.two_terms:
      rows = mean_of(0.1 * (logits**2).mean((1, 2)), batch["weight"])
      terms = {"loss/nats": terms["loss"], "loss/size": rows}
    checksum = (hide * (1 + jnp.arange(LENGTH)) * (1 + batch["index"][:, None])).sum()
    return terms | {"mask/sum": Mean(checksum.astype(jnp.float32), jnp.ones(()))}

  def hide(self, batch):
    """Which tokens of each row are hidden: the row's own key decides."""
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    keys = fold(self.make_rng("mask"), batch["index"])
    draws = jax.vmap(lambda key: jax.random.uniform(key, (LENGTH,)))(keys)
    return draws < self.mask_ratio


class Frozen(ToyMasked):
  """The toy, its embedding left as it was."""

  def trainable(self, path):
    return not path.startswith("embed")


def make_batch(step: int, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
  rng = np.random.default_rng([seed, step])
  first = rng.integers(0, VOCAB, (batch, 1))
  tokens = (first + np.arange(LENGTH) * rng.integers(1, 3, (batch, 1))) % VOCAB
  return {
    "tokens": tokens.astype(np.int32),
    "index": (np.arange(batch) + step * batch).astype(np.int32),
    "weight": np.ones(batch, np.float32),
    "scale": np.ones(batch, np.float32),
  }


def make_feed(
  batch: int, *, poison: int | None = None, broken: int | None = None
) -> Feed:
  """Batches of a function of the step, of which each process gets its rows.

  Number `poison` holds a NaN, `broken` raises.
  """

  def batches(start: int) -> Iterator[dict[str, np.ndarray]]:
    step = start
    while True:
      rows = make_batch(step, batch)
      if step == poison:
        rows["scale"][0] = np.nan
      if step == broken:
        raise ValueError("clip 7 is silent; leave it out.")
      local = batch // jax.process_count()
      mine = slice(jax.process_index() * local, (jax.process_index() + 1) * local)
      yield {name: x[mine] for name, x in rows.items()}
      step += 1

  return Feed(batches, epoch=10, facts={"vocab": VOCAB})


def get_config():
  cfg = config.base()
  cfg.method = {"name": "toys.masked.ToyMasked"}
  cfg.model = {"name": "toys.masked.Mixer"}
  cfg.train.update(steps=20, batch=16, log_every=1, eval_every=5,
                   checkpoint_every=5, ema=0.9)  # fmt: skip
  cfg.optimizer.update(learning_rate=3e-3, warmup=2)
  return cfg
