"""A mixer of one head without settings, for tests of what surrounds mixers."""

import flax.linen as nn
import jax.numpy as jnp

from mdm.nn.attention import attend
from mdm.nn.layers import Initializer, Linear


class OneHead(nn.Module):
  """Dense causal attention with a single head."""

  kernel_init: Initializer = nn.initializers.lecun_normal()
  out_scale: float = 1.0

  @nn.compact
  def __call__(self, x, *, positions=None, valid=None, segments=None):
    n, d = x.shape[1:]
    split = [(3, 1, d), ("embed", None, "heads", "kv")]
    qkv = Linear(*split, use_bias=False, kernel_init=self.kernel_init, name="qkv")(x)
    causal = jnp.tril(jnp.ones((1, 1, n, n), bool))
    mixed = attend(*jnp.moveaxis(qkv, 2, 0), causal)  # b n 1 d
    init = nn.initializers.normal(0.02 * self.out_scale)
    return Linear((d,), ("kv", "embed"), use_bias=False, kernel_init=init, name="out")(
      mixed[:, :, 0]
    )
