"""Block diffusion at inference: finished blocks are read once and kept as a cache.

Text grows block by block from the left. A block is denoised by any sampler, which sees
the finished blocks only through their keys and values; when all of it is revealed it
is read once more, and its own keys and values join the cache. A pass thus costs one
block's queries, and the text may grow past the length of training.

Source: *Block Diffusion: Interpolating Between Autoregressive and Diffusion Language
Models*, Arriola et al., 2025, algorithm 2. Differences: any positions may be given, not
only a prefix; the cache is one array of the canvas's length, so that nothing is
compiled again as the text grows.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, Shaped

from mdm.decoding.passes import Sampled
from mdm.decoding.sample import sample
from mdm.decoding.settings import SamplerSettings, check_sampling
from mdm.masks.blocks import check_blocks
from mdm.masks.keys import fold_keys
from mdm.masks.schedule import MaskSchedule

# (tokens [b m], cache, start) to (logits [b m v], cache): reads tokens that stand at
# positions start, start + 1, ..., after what the cache holds, and adds them to it.
Extend = Callable[[jax.Array, Any, jax.Array], tuple[jax.Array, Any]]


class Text(NamedTuple):
  """The loop's state: what is written, read and counted, and which rows have ended."""

  canvas: Int[Array, "b n"]
  cache: Any
  has_ended: Bool[Array, "b"]
  calls: Int[Array, ""]


def sample_blocks(
  extend: Extend,
  cache: Any,
  canvas: Int[Array, "b n"],
  keys: Key[Array, "b"],
  sampler: str = "ancestral",
  *,
  mask_id: int,
  block_length: int,
  schedule: MaskSchedule,
  settings: SamplerSettings,
  valid: Bool[Array, "b n"] | None = None,
) -> Sampled:
  """Fills the hidden positions of a canvas block by block.

  Args:
    extend: the cached predictor.
    cache: as it is before the first token; of the canvas's length or longer.
    canvas: `mask_id` where a token is to be found; all others are given and kept.
    keys: one per row; block j draws from the row's key folded with j.
    sampler: one of `decoding.settings.SAMPLERS`, run on each block by itself.
    mask_id: the id of a hidden position.
    block_length: positions of a block; the canvas holds a whole number of them.
    schedule: of the sampler.
    settings: `num_steps` passes for the whole canvas, shared out over the blocks; a row
      that has drawn `eos_id` is filled up with it.
    valid: real positions; padding is never revealed.

  Returns:
    The canvas; its history block after block; network calls, the one that adds each
    block to the cache included.

  Raises:
    ValueError: an unknown sampler or setting, another block length, a canvas of no
      whole number of blocks, or guidance, which would need a second cache.
  """
  num_blocks = check_block_sampling(sampler, settings, canvas.shape[1], block_length)
  steps = -(-settings.num_steps // num_blocks)
  own = dataclasses.replace(settings, num_steps=steps, block_length=None)
  real = jnp.ones(canvas.shape, bool) if valid is None else valid

  def add_block(text: Text, number: Int[Array, ""]) -> tuple[Text, tuple]:
    """Denoises one block and adds it to the cache."""
    start = number * block_length
    block, valid = (_cut(x, start, block_length) for x in (text.canvas, real))
    free = valid & (block == mask_id)
    if settings.eos_id is not None:
      block = jnp.where(free & text.has_ended[:, None], settings.eos_id, block)
    found = sample(
      lambda tokens, t: extend(tokens, text.cache, start)[0],
      block,
      fold_keys(keys, number),
      sampler,
      mask_id=mask_id,
      schedule=schedule,
      settings=own,
      valid=valid,
    )
    is_eos = free & (found.tokens == settings.eos_id)
    after = Text(
      jax.lax.dynamic_update_slice_in_dim(text.canvas, found.tokens, start, axis=1),
      extend(found.tokens, text.cache, start)[1],
      text.has_ended | is_eos.any(axis=-1),
      text.calls + found.calls + 1,
    )
    history = jnp.broadcast_to(text.canvas, (len(found.canvases), *canvas.shape))
    history = jax.lax.dynamic_update_slice_in_dim(
      history, found.canvases, start, axis=2
    )
    return after, (history, found.times)

  none_ended = jnp.zeros(len(canvas), bool)
  start = Text(canvas, cache, none_ended, jnp.zeros((), jnp.int32))
  end, (canvases, times) = jax.lax.scan(add_block, start, jnp.arange(num_blocks))
  canvases, times = (x.reshape(-1, *x.shape[2:]) for x in (canvases, times))  # s b ...
  return Sampled(end.canvas, canvases, times, end.calls)


def check_block_sampling(
  sampler: str, settings: SamplerSettings, length: int, block_length: int
) -> int:
  """Checks settings before anything is compiled; returns the number of blocks.

  Raises:
    ValueError: see `sample_blocks`.
  """
  check_sampling(sampler, settings)
  check_blocks(length, block_length)
  if settings.block_length not in (None, block_length):
    raise ValueError(
      f"block_length = {settings.block_length}: this model was trained with blocks of "
      f"{block_length}; leave it out."
    )
  if settings.guidance > 0:
    raise ValueError(
      f"guidance = {settings.guidance} would need a second cache without the prompt; "
      "set it to 0."
    )
  return length // block_length


def _cut(
  rows: Shaped[Array, "b n"], start: Int[Array, ""], length: int
) -> Shaped[Array, "b {length}"]:
  """One block of some rows."""
  return jax.lax.dynamic_slice_in_dim(rows, start, length, axis=1)
