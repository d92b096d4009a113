"""Decoding from left to right: one position a pass, the others still hidden."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from mdm.decoding.reader import Decoded, Reader
from mdm.decoding.reveal import Pass, reveal


def decode_autoregressive(reader: Reader, canvas: Int[Array, "b n"]) -> Decoded:
  """Commits position i in pass i; a row stops at its first EOS."""
  n = canvas.shape[1]

  def next_position(seen: Pass) -> Bool[Array, "b n"]:
    """Position i in pass i."""
    return jnp.broadcast_to(jnp.arange(n) == seen.step, canvas.shape)

  return reveal(reader, canvas, next_position, num_steps=n, stops_when_read=True)
