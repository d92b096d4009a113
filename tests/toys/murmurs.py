"""Small models that are pretrained on the sounds of `sounds.py`."""

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import meta

from mdm.nn.quantizer import GumbelQuantizer, RandomProjection
from mdm.nn.subsample import ConvSubsampling
from mdm.nn.tandem import Tandem
from toys.sounds import RATE, Ear, sing

SETTINGS = {"rate": RATE, "bins": 16, "feature_norm": "utterance"}
LONG = ((0, 1, 2, 1, 0, 2, 2, 1, 0), (2, 2, 0, 1, 1, 0, 2), (1, 0), (0, 2, 0, 1, 1))


def parts(kind="gumbel"):
  quantizers = {
    "gumbel": GumbelQuantizer(groups=2, entries=8, width=12),
    "random": RandomProjection(entries=8, width=4),
  }
  return {
    "subsample": ConvSubsampling(4),
    "encoder": Tandem(Ear(16), Ear(12)),
    "quantizer": quantizers[kind],
  }


def murmur(longer=0, rows=4):
  """A batch of long clips, without transcripts."""
  batch = sing(LONG[:rows], tokens=9, longer=longer)
  return {k: v for k, v in batch.items() if k not in ("tokens", "valid")}


def streams(seed=0):
  names = ("mask", "noise", "augment", "dropout", "gumbel")
  return {name: jax.random.key(i + 10 * seed) for i, name in enumerate(names)}


def start(method, batch=None, seed=0):
  keys = {"params": jax.random.key(seed), **streams()}
  batch = murmur() if batch is None else batch
  init = jax.jit(lambda: method.init(keys, batch, train=True))
  return meta.unbox(init())


def losses(method, variables, batch, *, train=True, seed=0):
  found = method.apply(variables, batch, train=train, rngs=streams(seed))
  return {name: mean.value() for name, mean in found.items()}


def wider(batch, rows=0, samples=0):
  """The same clips with empty ones after them, and silence behind each."""
  count = len(batch["audio"])
  padded = {
    "audio": np.pad(batch["audio"], ((0, rows), (0, samples))),
    "audio_length": np.pad(batch["audio_length"], (0, rows)),
    "index": np.arange(count + rows, dtype=np.int32) + batch["index"][0],
    "weight": np.pad(np.asarray(batch["weight"]), (0, rows)),
  }
  return {k: jnp.asarray(v) for k, v in padded.items()}
