"""The autoregressive twin: the same network with a causal mask, next-token loss.

  log p(x) = sum_i log p(x_i | x_<i)

It is what a masked diffusion of the same size and budget is measured against, so it
differs in nothing else: the token before the first is MASK, whose row the embedding has
anyway, and no further one is added. A network that has a token for the beginning of a
text names it itself (`decoder.Decoder.bos_id`).

Source: Improving Language Understanding by Generative Pre-Training, Radford et al.,
2018, equation 1.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from mdm.decoding.causal import sample_causal
from mdm.decoding.likelihood import Score, token_nats
from mdm.decoding.passes import Sampled
from mdm.decoding.settings import SamplerSettings
from mdm.masks.choices import check_choice
from mdm.methods.base import Mean, Method, mean_of

Batch = Mapping[str, jax.Array | np.ndarray]


class CausalLM(Method):
  """A left-to-right language model.

  Attributes:
    network: a causal network without time: tokens [b n] to logits [b n v]; has the
      fields `vocab_size` and `is_causal`, and `extend` and `init_cache` for sampling;
      if it has a `bos_id`, that is what stands before the first token.
  """

  network: nn.Module

  @property
  def vocab_size(self) -> int:
    """V, the number of tokens that can be predicted."""
    return self.network.vocab_size

  @property
  def mask_id(self) -> int:
    """The id of a token that is not there yet."""
    return self.vocab_size

  @property
  def first_id(self) -> int:
    """The id that stands before the first token of each text."""
    bos_id = getattr(self.network, "bos_id", None)
    return self.mask_id if bos_id is None else bos_id

  def setup(self) -> None:
    """Checks that the network is causal and hears no time."""
    if not self.network.is_causal:
      raise ValueError(
        "model.network.is_causal = False lets a token see what it shall predict; "
        "set it to True."
      )
    if self.network.time != "none":
      raise ValueError(
        f"model.network.time = {self.network.time!r} has no meaning from left to "
        "right; set it to 'none'."
      )

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss` in nats per token that is no prompt and no padding; "bits/token"."""
    nats, is_scored = self.nats(batch, train=train)  # b n
    weight = jnp.asarray(batch.get("weight", np.ones(len(nats), np.float32)))
    weight = weight[:, None] * is_scored  # b n
    return {
      "loss": mean_of(nats, weight),
      "bits/token": mean_of(nats / np.log(2), weight),
    }

  def score(
    self, batch: Batch, keys: Key[Array, "b"] | None = None, *, num_samples: int = 1
  ) -> Score:
    """-log p of each row's text given its prompt, in nats; exact, so without error.

    Keys and samples are taken as every method takes them, and not needed.
    """
    del keys, num_samples
    nats, is_scored = self.nats(batch)
    total = (nats * is_scored).sum(axis=-1)  # b
    return Score(total, jnp.zeros_like(total))

  def answer(self, batch: Batch) -> tuple[Bool[Array, "b n"], Bool[Array, "b n"]]:
    """Whether each token is the likeliest, and which were asked for: no prompt.

    Where all asked tokens of a row are, greedy decoding writes them.
    """
    tokens = jnp.asarray(batch["tokens"])
    valid = jnp.asarray(batch.get("valid", np.ones(tokens.shape, bool)))
    prompt = jnp.asarray(batch.get("prompt", np.zeros(tokens.shape, bool)))
    is_right = self.logits(tokens, valid).argmax(axis=-1) == tokens  # b n
    return is_right, valid & ~prompt

  def sample(
    self,
    keys: Key[Array, "b"],
    canvas: Int[Array, "b n"],
    sampler: str = "ancestral",
    settings: SamplerSettings = SamplerSettings(),  # noqa: B008  frozen
    *,
    valid: Bool[Array, "b n"] | None = None,
    prompt: Bool[Array, "b n"] | None = None,
  ) -> Sampled:
    """Fills what follows each row's given tokens, reading each token once.

    What all rows are given is read in one pass.

    Args:
      keys: one per row.
      canvas: given tokens, then `mask_id`.
      sampler: "ancestral", the only one there is from left to right.
      settings: temperature, top_p, never_ids, eos_id and keeps_history are read.
      valid: real positions; padding, at the end, stays as it is.
      prompt: what is given is known from the canvas.

    Raises:
      ValueError: a given token after a hidden one, another sampler, or settings out of
        range.
    """
    del prompt
    check_choice("sampler of a causal model", sampler, ["ancestral"])
    module, variables = self.unbind()

    def extend(
      tokens: jax.Array, cache: Any, start: jax.Array | int, valid: jax.Array | None
    ) -> Any:
      """A pure function, so that the loop closes over no module."""
      return module.apply(variables, tokens, cache, start, valid, method="extend")

    cache = self.network.init_cache(*canvas.shape)
    return sample_causal(
      extend,
      cache,
      canvas,
      keys,
      mask_id=self.mask_id,
      settings=settings,
      valid=valid,
      first_id=self.first_id,
    )

  def nats(
    self, batch: Batch, *, train: bool = False
  ) -> tuple[Float[Array, "b n"], Bool[Array, "b n"]]:
    """-log p of each token given those before it, and which tokens are scored.

    Those are the real ones that are no prompt. Packed documents (`segments`) are each
    a text of its own.
    """
    tokens = jnp.asarray(batch["tokens"])
    valid = jnp.asarray(batch.get("valid", np.ones(tokens.shape, bool)))
    segments = batch.get("segments")
    segments = None if segments is None else jnp.asarray(segments)
    nats = token_nats(self.logits(tokens, valid, segments, train=train), tokens)
    prompt = jnp.asarray(batch.get("prompt", np.zeros(tokens.shape, bool)))
    return jnp.where(valid, nats, 0.0), valid & ~prompt

  def logits(
    self,
    tokens: Int[Array, "b n"],
    valid: Bool[Array, "b n"],
    segments: Int[Array, "b n"] | None = None,
    *,
    train: bool = False,
  ) -> Float[Array, "b n v"]:
    """Scores of the token at each position, given those before it in its document.

    Texts end in padding: what precedes a real token is real.
    """
    is_first = jnp.arange(tokens.shape[1]) == 0  # n
    if segments is not None:
      is_first |= segments != jnp.roll(segments, 1, axis=1)  # b n
    shifted = jnp.where(is_first | ~valid, self.first_id, jnp.roll(tokens, 1, axis=1))
    packed = {} if segments is None else {"segments": segments}
    logits = self.network(shifted, valid=valid, train=train, **packed)
    return logits.astype(jnp.float32)

  def extend(
    self,
    tokens: Int[Array, "b m"],
    cache: Any,
    start: int | Int[Array, ""],
    valid: Bool[Array, "b m"] | None = None,
  ) -> tuple[Float[Array, "b m v"], Any]:
    """Scores of what follows each of the tokens at start, start + 1, ...; the cache."""
    return self.network.extend(tokens, cache, start=start, valid=valid)
