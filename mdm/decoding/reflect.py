"""Reflection: show a reader what it read, hide nothing, and let it correct itself.

This is what training with replaced tokens teaches. The released code of MDiff4STR has
such a pass but no decoder calls it.
"""

import jax.numpy as jnp
from jaxtyping import Array, Int

from mdm.decoding.reader import Decoded, Reader


def reflect(reader: Reader, tokens: Int[Array, "b n"]) -> Decoded:
  """Reads every position again in one pass; what follows the first EOS is hidden."""
  canvas = jnp.where(reader.up_to_eos(tokens), tokens, reader.mask_id)
  probs = reader.read(canvas)
  reread = reader.finish(probs, canvas[None], probs.max(axis=-1)[None])
  return reread._replace(canvases=reread.tokens[None])


def append_reflection(reader: Reader, decoded: Decoded) -> Decoded:
  """Reflects on a decoded row; the pass is added to the history."""
  last = reflect(reader, decoded.tokens)
  return last._replace(
    canvases=jnp.concatenate([decoded.canvases, last.canvases]),
    confidences=jnp.concatenate([decoded.confidences, last.confidences]),
  )
