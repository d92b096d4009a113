"""Parallel decoding: everything in one pass."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from mdm.decoding.reader import Decoded, Reader
from mdm.decoding.reveal import reveal


def decode_parallel(reader: Reader, canvas: Int[Array, "b n"]) -> Decoded:
  """Reads all hidden positions at once and cuts at the first EOS."""
  return reveal(reader, canvas, lambda seen: jnp.ones_like(seen.valid), num_steps=1)
