"""Models of speech as `mdm.load` gives them, without a training loop before."""

import json

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from mdm.api.model import Model
from mdm.methods.speech.ctc import Ctc
from mdm.nn.subsample import ConvSubsampling
from toys.sounds import PAUSE, RATE, TONE, Ear, sing, start
from toys.voices import as_wav

SPELLED = "ab "  # the characters of tokens 0, 1, 2


def make_model(folder, method, variables, **data):
  """A model whose data are the recordings in a folder."""
  tokenizer = {"kind": "characters", "characters": SPELLED, "folding": "", "eos": False}
  path = folder / "letters.json"
  path.write_text(json.dumps(tokenizer))
  section = {
    "name": "speech",
    "path": str(folder / "clips"),
    "tokens": str(path),
    "text": "raw",
    "buckets": (1.0, 2.0),
    **data,
  }
  cfg = ml_collections.ConfigDict({"data": section})
  return Model(cfg, method, variables, 0, folder)


def sing_many(rows=16, seed=0):
  """Texts of up to six tones, quiet for unlike times at the end."""
  rng = np.random.default_rng(seed)
  texts = [tuple(rng.integers(0, 3, rng.integers(1, 7)).tolist()) for _ in range(rows)]
  batch = sing(texts, tokens=6, longer=2_400)
  for row, length in enumerate(batch["audio_length"]):
    more = rng.integers(0, 2_400)
    batch["audio"][row, length : length + more] = 0.001 * rng.normal(size=more)
    batch["audio_length"][row] += more
  return batch


def train_ctc(steps=120):
  """A recogniser of the tones of `sounds.py`, and what it learned."""
  method = Ctc(
    subsample=ConvSubsampling(4), encoder=Ear(24), vocab_size=len(SPELLED), rate=RATE,
    bins=16, feature_norm="utterance", bands=0, stretches=0,
  )  # fmt: skip
  batch = sing_many()
  params = jax.tree.map(jnp.asarray, start(method, batch)["params"])
  optimizer = optax.adam(0.02)

  @jax.jit
  def learn(params):
    def step(carry, _):
      params, state = carry
      slope = jax.grad(
        lambda p: method.apply({"params": p}, batch, train=True)["loss"].value()
      )(params)
      updates, state = optimizer.update(slope, state)
      return (optax.apply_updates(params, updates), state), None

    start = (params, optimizer.init(params))
    return jax.lax.scan(step, start, None, length=steps)[0][0]

  return method, {"params": learn(params)}


def spell(text, *, seed=0):
  """Samples of a text in tones."""
  batch = sing([tuple(SPELLED.index(c) for c in text)], tokens=len(text), seed=seed)
  return batch["audio"][0]


def begins(text):
  """Seconds at which each of its tones begins."""
  return [(PAUSE + i * (PAUSE + TONE)) / RATE for i in range(len(text))]


def quiet(seconds, seed=0):
  """Noise that no one hears."""
  rng = np.random.default_rng(seed)
  return (0.001 * rng.normal(size=round(seconds * RATE))).astype(np.float32)


def write_wav(path, samples, **options):
  """A WAV of samples; makes its folder."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(as_wav(samples, **options))
  return path
