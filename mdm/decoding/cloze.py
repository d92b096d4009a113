"""Cloze refinement: read at once, then hide and re-read one position after the other.

Source: MDiff4STR: Mask Diffusion Model for Scene Text Recognition, 2025, refinement.
Differences: the released loop stops on a buffer of random numbers; here a row stops
once an EOS lies among the positions that were re-read.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from mdm.decoding.parallel import decode_parallel
from mdm.decoding.reader import Decoded, Reader
from mdm.decoding.reveal import Progress


def decode_cloze(reader: Reader, canvas: Int[Array, "b n"]) -> Decoded:
  """Parallel decoding, then one pass for each position up to the EOS."""
  b, n = canvas.shape
  first = decode_parallel(reader, canvas)
  is_given = canvas != reader.mask_id
  position = jnp.arange(n)

  def is_running(now: Progress) -> Bool[Array, ""]:
    """Whether positions are left in any row."""
    return (now.step < n) & now.is_active.any()

  def reread_one(now: Progress) -> Progress:
    """Hides one position and reads it again."""
    here = now.is_active[:, None] & (position == now.step) & ~is_given  # b n
    fresh = reader.read(jnp.where(here, reader.mask_id, now.canvas))
    probs = jnp.where(here[..., None], fresh, now.probs)
    canvas = jnp.where(here, jnp.argmax(fresh, axis=-1), now.canvas)
    is_end = (canvas == reader.eos_id) & (position <= now.step)
    return now._replace(
      step=now.step + 1,
      canvas=canvas,
      probs=probs,
      is_active=now.is_active & ~is_end.any(axis=-1),
      canvases=now.canvases.at[now.step].set(canvas),
      confidences=now.confidences.at[now.step].set(probs.max(axis=-1)),
    )

  start = Progress(
    step=jnp.zeros((), jnp.int32),
    canvas=jnp.where(is_given, canvas, first.tokens),
    probs=first.probs,
    is_settled=jnp.zeros(b, bool),
    is_active=jnp.ones(b, bool),
    canvases=jnp.zeros((n, b, n), canvas.dtype),
    confidences=jnp.zeros((n, b, n)),
  )
  end = jax.lax.while_loop(is_running, reread_one, start)
  passes = jnp.minimum(jnp.arange(n), end.step - 1)  # repeats the last one
  return reader.finish(
    end.probs,
    jnp.concatenate([first.canvases, end.canvases[passes]]),
    jnp.concatenate([first.confidences, end.confidences[passes]]),
  )
