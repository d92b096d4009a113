"""Token-replacement noise: wrong tokens that look like read ones.

A reader trained on masks alone trusts every visible token. Replaced tokens, with loss
on replaced and untouched ones alike, teach it to doubt and correct what it sees.

Source: MDiff4STR: Mask Diffusion Model for Scene Text Recognition, 2025, token
replacement noise; ranges follow the released label encoder.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from mdm.masks.keys import split_keys, uniform_rows


def replace_tokens(
  keys: Key[Array, "b"],
  tokens: Int[Array, "b n"],
  valid: Bool[Array, "b n"],
  *,
  num_ids: int,
  ratio_range: tuple[float | int, float | int] = (1e-3, 1.0),
) -> tuple[Int[Array, "b n"], Bool[Array, "b n"]]:
  """Replaces each valid token with probability q by an id uniform over all `num_ids`.

  q is drawn once per row, uniform over `ratio_range`. The uniform id may be the token's
  own, MASK or PAD. Returns `(tokens, replaced)`; `replaced` also marks tokens that drew
  their own id. Tokens that are not valid stay as they are.

  Raises:
    ValueError: unless 0 <= low <= high <= 1.
  """
  low, high = ratio_range
  if not 0 <= low <= high <= 1:
    raise ValueError(
      f"replacement range = {ratio_range} must hold two shares in [0, 1], low first."
    )
  noise_keys, id_keys = split_keys(keys, 2)
  length = tokens.shape[1]
  noise = uniform_rows(noise_keys, length + 1)
  q = low + (high - low) * noise[:, :1]  # b 1
  replaced = valid & (noise[:, 1:] < q)
  bits = jax.vmap(lambda key: jax.random.bits(key, (length,)))(id_keys)  # b n
  ids = (bits % num_ids).astype(tokens.dtype)  # uniform to num_ids / 2^32
  return jnp.where(replaced, ids, tokens), replaced
