"""Batches of token rows, and what a fresh mask diffusion makes of them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

V, N, ROWS = 27, 16, 8


class Table(nn.Module):
  """Scores that are a parameter of each position and do not see the tokens."""

  vocab_size: int = V
  rows: int = ROWS

  @nn.compact
  def __call__(self, tokens, t, *, valid=None, train=False):
    shape = (self.rows, N, self.vocab_size)
    table = self.param("table", nn.initializers.normal(1.0), shape)
    return jnp.repeat(table, len(tokens) // self.rows, axis=0)


class Mean(nn.Module):
  """Scores from each token, the mean of what a row shows, and the time."""

  vocab_size: int = V

  @nn.compact
  def __call__(self, tokens, t, *, valid=None, train=False):
    x = nn.Embed(self.vocab_size + 1, 8)(tokens)
    seen = jnp.ones(tokens.shape) if valid is None else valid
    mean = (x * seen[..., None]).sum(1) / seen.sum(1, keepdims=True)
    return nn.Dense(self.vocab_size)(jnp.sin(x + mean[:, None] + t[:, None, None]))


def make_batch(rows=ROWS, length=N, vocab=V, **more):
  rng = np.random.default_rng(0)
  return {
    "tokens": jnp.asarray(rng.integers(0, vocab, (rows, length)), jnp.int32),
    "index": jnp.arange(rows, dtype=jnp.int32),
    "weight": jnp.ones(rows),
    **more,
  }


def streams(seed=0):
  names = ("params", "mask", "time", "noise")
  return dict(zip(names, jax.random.split(jax.random.key(seed), 4), strict=True))


def run(method, batch, *, seed=0, train=True):
  """Means of a fresh method on a batch."""
  means = evaluate(method, batch, streams(seed), train)
  return {name: float(mean.value()) for name, mean in means.items()}


@functools.partial(jax.jit, static_argnums=0)
def init(method, batch):
  return method.init(streams(), batch, train=True)


@functools.partial(jax.jit, static_argnums=(0, 3))
def evaluate(method, batch, keys, train):
  variables = init(method, batch)
  return method.apply(variables, batch, train=train, rngs=keys)


@functools.partial(jax.jit, static_argnums=0)
def draw(method, batch, keys):
  def drawn(bound):
    rows = bound.read(batch, train=True)
    return rows, *bound.corrupt(batch, rows)

  return method.apply(init(method, batch), rngs=keys, method=drawn)


def corrupted(method, batch, seed=0):
  """Rows, times and corruptions that a call draws."""
  return draw(method, batch, streams(seed))
