"""Predictors without a network, and the decoders again as plain NumPy loops."""

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
