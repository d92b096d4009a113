"""Two binary tokens whose joint distribution is known, and networks without weights.

P(00), P(01), P(10), P(11) = .4, .1, .2, .3: entropy 1.279854 nats, mutual information
0.086304.
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mdm.masks.corruption import Corrupted
from mdm.methods.diffusion.mask_diffusion import Rows

JOINT = np.array([[0.4, 0.1], [0.2, 0.3]])
TEXTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
NATS = -np.log(JOINT.reshape(-1))
ENTROPY = float((JOINT.reshape(-1) * NATS).sum())
MASK = 2


def _tables():
  """P(first | second) and P(second | first); the last row for a hidden other token."""
  first, second = JOINT.sum(1), JOINT.sum(0)
  given_second = np.vstack([(JOINT / second).T, first])
  given_first = np.vstack([JOINT / first[:, None], second])
  return np.log(given_second), np.log(given_first)


INFORMATION = float(
  -(JOINT.sum(1) * np.log(JOINT.sum(1))).sum()
  - (JOINT.sum(0) * np.log(JOINT.sum(0))).sum()
  - ENTROPY
)


def predict(tokens, t):
  """Log-probabilities [b 2 2] of each token given the other, where it is visible."""
  del t
  given_second, given_first = (jnp.asarray(x, jnp.float32) for x in _tables())
  return jnp.stack([given_second[tokens[:, 1]], given_first[tokens[:, 0]]], axis=1)


class Exact(nn.Module):
  """The true conditionals of the joint, as a network."""

  vocab_size: int = 2

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    return predict(tokens, t)


class Uniform(nn.Module):
  """Knows nothing: zeros for every token, as an untrained head gives."""

  vocab_size: int = 27

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    return jnp.zeros((*tokens.shape, self.vocab_size))


def exact_nats(method, text, times):
  """A method's bound of one text: the mean over `times` of the sum over all masks.

  `text` [n]; every one of the 2^n masks at every time, times its probability.
  """
  n, count = len(text), len(times)
  masks = np.array(list(itertools.product([False, True], repeat=n)))  # m n
  t = jnp.repeat(jnp.asarray(times, jnp.float32), len(masks))  # sm
  mask = jnp.asarray(np.tile(masks, (count, 1)))  # sm n
  tokens = jnp.tile(jnp.asarray(text, jnp.int32), (len(t), 1))
  rows = Rows(tokens, None, jnp.ones(tokens.shape, bool), jnp.ones(len(t)))

  def bound(made, rows, mask, t):
    shown = jnp.where(mask, made.mask_id, rows.tokens)
    noised = Corrupted(shown, mask, made.weight_at(t))
    rate = made.mask_schedule().rate(t)[:, None]
    q = jnp.where(mask, rate, 1.0 - rate).prod(axis=1)
    nats = made.row_nats(rows, noised, made.logits(shown, t))
    return (q * nats).sum() / count + made.rest(rows)[0]

  run = jax.jit(lambda *given: method.apply({}, *given, method=bound))
  return float(run(rows, mask, t))


def midpoints(count):
  """Times that integrate a polynomial of degree one exactly, others to 1 / count^2."""
  return (np.arange(count) + 0.5) / count
