"""One small instance of every token mixer, and what their tests have in common."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mdm.nn.mixers.dense import DenseAttention
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention
from mdm.nn.mixers.latent import LatentAttention
from mdm.nn.mixers.native_sparse import NativeSparseAttention
from mdm.nn.mixers.window import WindowAttention

B, N, D, W = 2, 13, 8, 4
SHAPE = {"heads": 4, "kv_heads": 2, "head_width": 4, "qk_norm": True}
TOPW = DynamicMaskAttention(**SHAPE, window=W)
MIXERS = {
  "dense": DenseAttention(**SHAPE),
  "window": WindowAttention(**SHAPE, window=W),
  "topw": TOPW,
  "full": TOPW.clone(cache="full", bias_mode="log"),
  "recent": TOPW.clone(recent=6),
  "recent_full": TOPW.clone(recent=2, cache="full"),
  "latent": LatentAttention(4, head_width=4, kv_width=6, query_width=5, rotary_width=2),
  "sparse": NativeSparseAttention(
    **SHAPE, block=4, stride=2, select_block=4, num_blocks=2, window=3
  ),
}
X = jnp.asarray(np.random.default_rng(1).normal(size=(B, N, D)), jnp.float32)
VALID = jnp.asarray(np.random.default_rng(5).random((B, N)) < 0.75)


@functools.cache
def params_of(name):
  """Random parameters, with scores that differ much from token to token."""
  return draw_params(MIXERS[name], X)


def draw_params(model, x):
  """Random values for every parameter of a mixer, drawn on the host."""
  shapes = nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0), x))
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    noise = rng.normal(size=leaf.shape).astype(np.float32)
    return jnp.asarray(1.0 + 0.2 * noise if path[-1].key == "scale" else 0.4 * noise)

  return jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def compiled(name, method="__call__", start=None):
  """A jitted method of a mixer; `start` is fixed where given, else an argument."""
  fixed = {} if start is None else {"start": start}
  return jax.jit(functools.partial(MIXERS[name].apply, method=method, **fixed))


def run(name, x=X, **given):
  """A whole sequence."""
  return compiled(name)(params_of(name), x, **given)


def extend_in(name, blocks, x=X, valid=None, is_fresh=False):
  """The same sequence in blocks of given lengths; a fresh one begins at integer 0."""
  cache, start, outs = MIXERS[name].init_cache(len(x), x.shape[1]), 0, []
  valid = jnp.ones(x.shape[:2], bool) if valid is None else valid
  for n in blocks:
    here = slice(start, start + n)
    begins = is_fresh and start == 0
    step = compiled(name, "extend", 0 if begins else None)
    given = {} if begins else {"start": jnp.asarray(start)}
    out, cache = step(params_of(name), x[:, here], cache, valid=valid[:, here], **given)
    outs.append(out)
    start += n
  return jnp.concatenate(outs, axis=1), cache
