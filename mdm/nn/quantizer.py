"""Frames to entries of a codebook: learned by a Gumbel softmax, or fixed at random.

  a = W z + b,  hard = one-hot(argmax(a + gumbel)),  soft = softmax((a + gumbel) / tau)
  vectors = hard E forward; the gradient is that of soft E

Several groups choose an entry each, and the vectors chosen lie side by side. Without
training there is no noise. Logits and what follows are float32.

Source: *wav2vec 2.0*, 2020, section 2 and its code in fairseq (initialisation, the form
of the diversity loss); *Self-supervised Learning with Random-projection Quantizer for
Speech Recognition*, 2022, section 3.1.
Differences: the mean distribution in the diversity loss is that of the whole batch, not
of a device's part.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from mdm.masks.choices import check_choice
from mdm.nn.layers import Linear, named

IDS = ("sampled", "argmax")
FIXED = "fixed"  # collection of what is drawn once and never learned


class Quantized(NamedTuple):
  """What became of each frame.

  Attributes:
    vectors: of the entries chosen, groups side by side; these carry gradients.
    ids: entry of each group.
    soft: probability of every entry, softmax(a): without noise, at temperature 1.
  """

  vectors: Float[Array, "b n q"]
  ids: Int[Array, "b n g"]
  soft: Float[Array, "b n g v"]


class GumbelQuantizer(nn.Module):
  """Product quantiser that is learned by sampling.

  Parameters: `logits` (a linear map that starts as N(0, 1)) and `entries` [g v e],
  which start as U(0, 1), e = width / groups.

  Attributes:
    width: of all of a frame's vectors together.
    ids: "sampled": those of the entries that made the vectors; "argmax": the likeliest
      ones. They agree without training.
  """

  groups: int = 1
  entries: int = 1024
  width: int = 1024
  ids: str = "sampled"

  @nn.compact
  def __call__(
    self,
    z: Float[Array, "b n d"],
    temperature: float | Float[Array, ""] = 1.0,
    *,
    train: bool,
    keys: Key[Array, "b"] | None = None,
  ) -> Quantized:
    """Chooses entries; in training with noise.

    Args:
      temperature: tau.
      keys: of the noise of each row, which then depends on no other row and on no
        padding; None for one key of all, from the stream "gumbel".

    Raises:
      ValueError: the groups do not divide the width, or an unknown choice of ids.
    """
    check_choice("ids", self.ids, IDS)
    if self.groups < 1 or self.width % self.groups:
      raise ValueError(
        f"groups = {self.groups} do not divide width = {self.width}; choose a divisor."
      )
    shape = (self.groups, self.entries, self.width // self.groups)
    entries = self.param("entries", named(_uniform, None, "vocab", "embed"), shape)
    project = Linear(
      shape[:2],
      ("embed", None, "vocab"),
      kernel_init=nn.initializers.normal(1.0),
      name="logits",
    )
    logits = project(z.astype(jnp.float32))  # b n g v
    likeliest = logits.argmax(-1)
    soft = jax.nn.softmax(logits, axis=-1)
    if not train:
      vectors = _choose(jax.nn.one_hot(likeliest, self.entries), entries)
      return Quantized(vectors, likeliest, soft)
    noisy = logits + self._noise(logits.shape, keys)
    drawn = noisy.argmax(-1)  # b n g
    hard = straight_through(jax.nn.softmax(noisy / temperature, axis=-1), drawn)
    ids = drawn if self.ids == "sampled" else likeliest
    return Quantized(_choose(hard, entries), ids, soft)

  def _noise(
    self, shape: tuple[int, ...], keys: Key[Array, "b"] | None
  ) -> Float[Array, "b n g v"]:
    """Standard Gumbel noise."""
    if keys is None:
      return jax.random.gumbel(self.make_rng("gumbel"), shape)
    return jax.vmap(lambda key: jax.random.gumbel(key, shape[1:]))(keys)


def straight_through(
  soft: Float[Array, "*dims v"], ids: Int[Array, "*dims"]
) -> Float[Array, "*dims v"]:
  """Exactly one-hot at `ids`, with the gradient of `soft`."""
  hard = jax.nn.one_hot(ids, soft.shape[-1], dtype=soft.dtype)
  return hard + (soft - jax.lax.stop_gradient(soft))  # the brackets make it exact


def gumbel_temperature(
  step: int | Int[Array, ""],
  *,
  start: float = 2.0,
  end: float = 0.1,
  decay: float = 0.999995,
) -> Float[Array, ""]:
  """max(start decay^step, end): a function of the step alone, in float32."""
  fall = jnp.exp(jnp.asarray(step, jnp.float32) * jnp.log(decay))
  return jnp.maximum(start * fall, end)


def diversity_loss(
  soft: Float[Array, "b n g v"], weight: Float[Array, "b n"]
) -> Float[Array, ""]:
  """1 - mean over groups of exp(H(p)) / v, p the weighted mean distribution.

  0 if all entries are used equally, 1 - 1 / v if one is used only. Of no frames at all
  it is 0. In nats nowhere: H cancels.

  Source: wav2vec 2.0, 2020, the code's form of equation 4.
  """
  weight = weight.astype(jnp.float32)
  total = weight.sum()
  p = jnp.einsum("bngv,bn->gv", soft.astype(jnp.float32), weight)
  p = p / jnp.where(total > 0, total, 1.0)
  loss = 1.0 - _perplexity(p).mean() / soft.shape[-1]
  return jnp.where(total > 0, loss, 0.0)


def code_perplexity(
  ids: Int[Array, "b n g"], weight: Float[Array, "b n"], entries: int
) -> Float[Array, "g"]:
  """How many entries of each group are in use: exp of the entropy of their shares."""
  return _perplexity(code_share(ids, weight, entries))


def code_share(
  ids: Int[Array, "b n g"], weight: Float[Array, "b n"], entries: int
) -> Float[Array, "g {entries}"]:
  """Weighted share of frames for which each entry was chosen; 0 for no frames."""
  weight = weight.astype(jnp.float32)
  group = jnp.arange(ids.shape[-1])
  count = jnp.zeros((ids.shape[-1], entries), jnp.float32)
  count = count.at[group, ids].add(weight[..., None])  # g v
  return count / jnp.where(weight.sum() > 0, weight.sum(), 1.0)


class RandomProjection(nn.Module):
  """The nearest of random entries, in angle, to a random projection of each frame.

  ids = argmin_v || c_v / |c_v| - A x / |A x| ||

  A (Xavier) and c (normal) are drawn once and lie in the collection "fixed", which no
  optimiser sees. What scales x leaves ids as they are; what shifts all frames alike
  does not: without normalised input few entries are used.

  Attributes:
    groups: how many such codebooks there are, each with a projection of its own.
  """

  entries: int = 8192
  width: int = 16
  groups: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b n d"]) -> Int[Array, "b n g"]:
    """Names an entry of each group for every frame; no gradient flows."""
    shape = (self.groups, x.shape[-1], self.width)
    xavier = nn.initializers.xavier_uniform(batch_axis=0)
    matrix = self._fixed("projection", xavier, shape)
    normal = nn.initializers.normal(1.0)
    codes = self._fixed("entries", normal, (self.groups, self.entries, self.width))
    x = jax.lax.stop_gradient(x.astype(jnp.float32))
    projected = jnp.einsum("bnd,gdw->bngw", x, matrix, precision="highest")
    codes = codes / jnp.linalg.norm(codes, axis=-1, keepdims=True)
    # Of unit vectors the nearest has the largest product; |A x| changes no order.
    near = jnp.einsum("bngw,gvw->bngv", projected, codes, precision="highest")
    return near.argmax(-1)

  def _fixed(
    self, name: str, init: nn.initializers.Initializer, shape: tuple[int, ...]
  ) -> jax.Array:
    """An array that is drawn at the beginning and stays."""
    return self.variable(
      FIXED, name, lambda: init(self.make_rng("params"), shape, jnp.float32)
    ).value


def _uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Numbers of U(0, 1)."""
  return jax.random.uniform(key, shape)


def _choose(
  hard: Float[Array, "b n g v"], entries: Float[Array, "g v e"]
) -> Float[Array, "b n q"]:
  """The entries chosen, groups side by side."""
  vectors = jnp.einsum("bngv,gve->bnge", hard, entries, precision="highest")
  return vectors.reshape(*vectors.shape[:2], -1)  # b n q


def _perplexity(p: Float[Array, "g v"]) -> Float[Array, "g"]:
  """exp(H(p)), where 0 log 0 = 0 and has no gradient."""
  entropy = -(p * jnp.log(jnp.where(p > 0, p, 1.0))).sum(-1)
  return jnp.exp(entropy)
