"""Batches of the shapes a config's data has, without the data."""

import numpy as np

PIXELS = (32, 32, 3)
SPEECH = ("spoken_digits", "asterisk_prompts", "speech", "tfds_speech")


def batch_like(cfg, rows=8):
  """Noise with the names, shapes and dtypes of a config's batches."""
  data = cfg.data
  rng = np.random.default_rng(0)
  batch = {
    "index": np.arange(rows, dtype=np.int32),
    "weight": np.ones(rows, np.float32),
  }
  if data.name in SPEECH:
    return batch | speech_like(cfg, rows, rng)
  if (
    data.name in ("cifar10", "omniglot", "images", "tfds")
    and data.get("form") != "tokens"
  ):
    size = data.get("image_size") or PIXELS[:2]
    image = rng.integers(0, 256, (rows, *size, data.get("channels") or PIXELS[2]))
    label = rng.integers(0, 10, rows).astype(np.int32)
    return batch | {"image": image.astype(np.uint8), "label": label}
  if data.name == "cifar10":
    shape, count = (rows, int(np.prod(PIXELS))), 256
  elif "canvas" in data:
    shape, count = (rows, data.canvas), 1 + cfg.method.num_characters
    image = rng.integers(0, 256, (rows, *data.image_size, data.channels))
    batch["image"] = image.astype(np.uint8)
  else:
    shape, count = (rows, data.length), cfg.model.network.vocab_size
  batch["tokens"] = rng.integers(0, count, shape).astype(np.int32)
  batch["valid"] = np.ones(shape, bool)
  if data.name == "mqar":
    del batch["valid"]
    shape = (rows, data.pairs)
    batch["places"] = rng.integers(0, data.length, shape).astype(np.int32)
    batch["answers"] = rng.integers(0, count, shape).astype(np.int32)
  return batch


def speech_like(cfg, rows, rng):
  """A second of noise, and eight tokens where a config's data has any."""
  rate = cfg.method.rate
  found = {
    "audio": 0.1 * rng.standard_normal((rows, rate), np.float32),
    "audio_length": np.full(rows, rate, np.int32),
  }
  if cfg.data.get("tokens", "none") == "none":
    return found
  size = cfg.method.get("vocab_size") or cfg.model.joint.vocab_size
  tokens = rng.integers(0, size, (rows, 8)).astype(np.int32)
  return found | {"tokens": tokens, "valid": np.ones((rows, 8), bool)}
