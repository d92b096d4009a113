"""Classifier-free guidance without training for it: what the prompt adds, amplified.

The predictor is called twice, with the prompt and with the prompt hidden, and
logits = without + (w + 1) (with - without). Wrapped as a predictor, it serves every
sampler and every score.

Source: *Large Language Diffusion Models*, 2025, appendix on unsupervised
classifier-free guidance; *Scaling up Masked Diffusion Models on Text*, 2024.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mdm.decoding.reader import Predict


def guide(
  predict: Predict, null: Bool[Array, "b n"], *, mask_id: int, scale: float
) -> Predict:
  """A predictor that listens to the prompt `scale + 1` times.

  Args:
    predict: the conditional predictor; both calls have the same rows.
    null: positions of the prompt, hidden in the second call.
    mask_id: the id of a hidden position.
    scale: w, 0 or more; at 0 the predictor itself is returned.
  """
  if scale == 0:
    return predict

  def guided(tokens: Int[Array, "b n"], t: Float[Array, "b"]) -> Float[Array, "b n v"]:
    """Logits with the prompt's part amplified, in float32."""
    given = predict(tokens, t).astype(jnp.float32)
    unled = predict(jnp.where(null, mask_id, tokens), t).astype(jnp.float32)
    return unled + (scale + 1.0) * (given - unled)

  return guided
