"""Images of noise, random streams, and what a bound method says of them."""

import jax
import numpy as np
from flax.core import meta

STREAMS = ("mask", "augment", "dropout")


def pictures(rows=4, seed=0, side=16):
  """A batch as the pipeline gives it."""
  rng = np.random.default_rng(seed)
  return {
    "image": rng.integers(0, 256, (rows, side, side, 3)).astype(np.uint8),
    "index": np.arange(rows, dtype=np.int32) + 10,
    "weight": np.ones(rows, np.float32),
  }


def streams(seed=0):
  keys = jax.random.split(jax.random.key(seed), len(STREAMS))
  return dict(zip(STREAMS, keys, strict=True))


def start(method, data):
  """Fresh variables of a method."""
  keys = {"params": jax.random.key(1), **streams()}
  init = jax.jit(lambda keys: method.init(keys, data, train=False))
  return meta.unbox(init(keys))


def away_from_zero(variables, size=0.1):
  """The same variables with noise on each, so that nothing is 0 or 1."""
  leaves, tree = jax.tree.flatten(variables)
  keys = jax.random.split(jax.random.key(2), len(leaves))
  moved = [
    x + size * jax.random.normal(key, x.shape)
    for x, key in zip(leaves, keys, strict=True)
  ]
  return jax.tree.unflatten(tree, moved)


def ask(method, variables, function, *args, seed=0, **kwargs):
  """What a function of the bound method and further arguments returns, compiled."""
  run = jax.jit(
    lambda v, a: method.apply(
      v, *a, rngs=streams(seed), method=lambda m, *a: function(m, *a), **kwargs
    )
  )
  return run(variables, args)
