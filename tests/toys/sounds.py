"""Short sounds whose tokens can be told, and a small encoder that hears them.

Token k is a tone of 0.12 s, higher for higher k; between tones and around them it is
quiet but for some noise.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mdm.nn.layers import Linear

RATE, TONE, PAUSE = 8_000, 960, 480
TEXTS = ((0, 1, 2), (2, 2), (1,), (0, 2, 0, 1))


def sing(texts=TEXTS, *, tokens=4, seed=0, longer=0):
  """A batch of texts in tones, padded by `longer` samples more than is needed."""
  rng = np.random.default_rng(seed)
  length = [len(text) * (TONE + PAUSE) + PAUSE for text in texts]
  audio = np.zeros((len(texts), max(length) + longer), np.float32)
  ids = np.zeros((len(texts), tokens), np.int32)
  for row, text in enumerate(texts):
    audio[row, : length[row]] = 0.001 * rng.normal(size=length[row])
    for i, token in enumerate(text):
      place = PAUSE + i * (TONE + PAUSE) + np.arange(TONE)
      turns = 400 * (2 + 3 * token) * np.arange(TONE) / RATE
      audio[row, place] += 0.3 * np.sin(2 * np.pi * turns)
    ids[row, : len(text)] = text
  return {
    "audio": audio,
    "audio_length": np.array(length, np.int32),
    "tokens": ids,
    "valid": np.arange(tokens) < np.array([[len(text)] for text in texts]),
    "index": np.arange(len(texts), dtype=np.int32) + 7,
    "weight": np.ones(len(texts), np.float32),
  }


def start(method, batch):
  """Fresh variables of a method, made in one program."""
  return jax.jit(lambda: method.init(jax.random.key(0), batch, train=False))()


def texts_of(found):
  """The valid tokens of each row of a transcript."""
  rows = zip(np.asarray(found.tokens), np.asarray(found.valid), strict=True)
  return [tuple(tokens[valid].tolist()) for tokens, valid in rows]


class Ear(nn.Module):
  """Each frame by itself: a linear map and a threshold, dropped at random."""

  width: int = 16
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x, valid, *, train):
    x = nn.relu(Linear((self.width,), ("embed", "mlp"), name="hear")(x))
    x = nn.Dropout(self.dropout, deterministic=not train)(x)
    return jnp.where(valid[..., None], x, 0.0)
