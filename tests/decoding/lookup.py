"""Predictors without a network, and decoders and samplers as plain NumPy loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

V, N = 7, 9  # EOS and six characters, MASK = 7, nine positions
EOS, MASK = 0, 7
ROWS = 64

_rng = np.random.default_rng(5)
_mix = jnp.asarray(_rng.normal(size=(N, V + 1, 16)), jnp.float32)
_out = jnp.asarray(_rng.normal(size=(16, N, V)), jnp.float32)
IMAGES = jnp.asarray(_rng.normal(size=(ROWS, 16)) * 2, jnp.float32)
HIDDEN = jnp.full((ROWS, N), MASK, jnp.int32)


def make_predict(images=IMAGES, *, eos_bias=0.5):
  """Every logit depends on the row's image and on all tokens of its canvas."""

  def predict(tokens, t):
    del t
    seen = _mix[jnp.arange(N), tokens].sum(axis=1)
    logits = jnp.einsum("bh,hnv->bnv", jnp.sin(images + seen), _out)
    return logits.at[..., EOS].add(eos_bias)

  return predict


read = jax.jit(
  lambda image, row: jax.nn.softmax(make_predict(image[None])(row[None], 0)[0])
)


def until_eos(guess):
  ends = np.flatnonzero(guess == EOS)
  return np.arange(N) <= (ends[0] if len(ends) else N)


def cut(probs):
  guess = probs.argmax(-1)
  return np.where(until_eos(guess), guess, MASK)


def reveal_row(image, num_steps, window=lambda step: np.ones(N, bool)):
  """Released low-confidence decoding of one row, its two defects mended."""
  canvas, is_leaving = np.full(N, MASK), False
  probs = np.zeros((N, V))
  for step in range(num_steps):
    fresh = np.asarray(read(image, canvas))
    hidden = canvas == MASK
    probs[hidden] = fresh[hidden]
    guess, sure = fresh.argmax(-1), fresh.max(-1)
    valid = hidden & until_eos(guess) & window(step)
    if valid.any():
      chosen = valid & (sure > sure[valid].mean())
      canvas = np.where(chosen, guess, canvas)
    if is_leaving:
      break
    is_leaving = ((canvas == MASK) & until_eos(guess)).sum() <= 1
  return cut(probs)


def autoregressive_row(image):
  canvas, probs = np.full(N, MASK), np.zeros((N, V))
  for i in range(N):
    probs[i:] = np.asarray(read(image, canvas))[i:]
    canvas[i] = probs[i].argmax()
    if canvas[i] == EOS:
      break
  return cut(probs)


def cloze_row(image):
  probs = np.array(read(image, np.full(N, MASK)))
  canvas = cut(probs)
  for i in range(N):
    canvas[i] = MASK
    probs[i] = np.asarray(read(image, canvas))[i]
    canvas[i] = probs[i].argmax()
    if canvas[i] == EOS:
      break
  return cut(probs)


class Joint:
  """A known distribution of short rows, and its true conditionals as a predictor."""

  def __init__(self, probs):
    self.probs = np.asarray(probs, np.float64)
    self.length, self.classes = self.probs.ndim, self.probs.shape[0]
    self.mask_id = self.classes
    self.texts = np.asarray(
      list(itertools.product(range(self.classes), repeat=self.length))
    )
    self.flat = self.probs.reshape(-1)

  def predict(self, tokens, t):
    """log p(x_i = c | visible tokens) for every position and class."""
    del t
    fits = (tokens[:, None] == self.mask_id) | (tokens[:, None] == self.texts)  # b x n
    weight = fits.all(-1) * jnp.asarray(self.flat, jnp.float32)  # b x
    is_class = jax.nn.one_hot(self.texts, self.classes)  # x n c
    return jax.nn.log_softmax(jnp.log(jnp.einsum("bx,xnc->bnc", weight, is_class)))

  def independent(self):
    """The product of the marginals, as a flat distribution over the texts."""
    axes = range(self.length)
    marginals = [self.probs.sum(tuple(set(axes) - {i})) for i in axes]
    return np.prod([marginals[i][self.texts[:, i]] for i in axes], axis=0)

  def count(self, tokens):
    """How often each text occurs among rows."""
    index = np.asarray(tokens) @ self.classes ** np.arange(self.length)[::-1]
    return np.bincount(index, minlength=len(self.flat))


PAIR = Joint([[0.4, 0.1], [0.2, 0.3]])  # H = 1.279854, I = 0.086304 nats
TRIPLE = Joint(_rng.dirichlet(np.full(27, 0.7)).reshape(3, 3, 3))


def chi_square(counts, probs):
  """In standard deviations above its mean; a right sampler stays below 4 or so."""
  expected = counts.sum() * np.asarray(probs)
  degrees = len(counts) - 1
  statistic = ((counts - expected) ** 2 / expected).sum()
  return (statistic - degrees) / (2 * degrees) ** 0.5


def low_confidence_row(image, canvas, num_steps, block_length, late=()):
  """LLaDA's sampler of one row at temperature 0, its positions being those hidden."""
  canvas, free = np.array(canvas), np.flatnonzero(np.asarray(canvas) == MASK)
  blocks = [free[i : i + block_length] for i in range(0, len(free), block_length)]
  steps = num_steps // len(blocks)
  for block in blocks:
    for i in range(steps):
      probs = np.array(read(image, canvas), np.float64)
      guess = probs.argmax(-1)
      probs[:, list(late)] = 0
      sure = (probs / probs.sum(-1, keepdims=True))[np.arange(N), guess]
      hidden = [j for j in block if canvas[j] == MASK]
      hidden.sort(key=lambda j: (-sure[j], j))
      for j in hidden[: len(block) // steps + (i < len(block) % steps)]:
        canvas[j] = guess[j]
  return canvas
