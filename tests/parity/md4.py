"""The original's weights under our names: pure functions of a dict of NumPy arrays."""

import pathlib
from collections.abc import Mapping

import numpy as np

V, WIDTH, HEADS, LAYERS, COND = 7, 16, 2, 2, 8
NETWORK = {
  "vocab_size": V, "width": WIDTH, "depth": LAYERS, "heads": HEADS, "bias": False,
  "mlp": "sigmoid-gated", "mlp_ratio": 4.0, "epsilon": 1e-5, "cond_width": COND,
  "time_style": "md4",
}  # fmt: skip
# The original's MLP has 8/3 of the width, rounded up to 32s: 64 of 16 here.
TIMED = NETWORK | {"time": "adaln", "norm": "layer"}
TIMELESS = NETWORK | {"time": "none", "norm": "rms"}


def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_md4.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("md4.npz")) as file:
    return dict(file)


def denoiser_params(stored: Mapping[str, np.ndarray], time: str) -> dict:
  """Parameters of `Denoiser` from `weights/t/...` or `weights/none/...`."""
  theirs = below(stored, f"weights/{time}/classifier/")
  trunk = below(theirs, "Transformer_0/")
  blocks = {
    f"block_{i}": block(below(trunk, f"TransformerBlock_{i}/")) for i in range(LAYERS)
  }
  ours = {"embedding": trunk["Embed_0/embedding"], "stack": blocks}
  if time == "none":
    norm = {"scale": trunk["RMSNorm_0/scale"]}
    return ours | {"norm": norm, "head": trunk["Dense_0/kernel"]}
  return ours | {
    "time_embed": time_embed(below(theirs, "CondEmbedding_0/")),
    "modulation": {"linear": modulation(below(trunk, "Dense_0/"), 2)},
    "head": trunk["Dense_1/kernel"],
  }


def time_embed(part: Mapping[str, np.ndarray]) -> dict:
  """Sines come first in theirs, cosines in ours."""
  sin, cos = np.split(part["dense0/kernel"], 2)
  return {
    "up": {"kernel": np.concatenate([cos, sin]), "bias": part["dense0/bias"]},
    "out": {"kernel": part["Dense_0/kernel"], "bias": part["Dense_0/bias"]},
  }


def modulation(part: Mapping[str, np.ndarray], parts: int) -> dict:
  """[cond (parts d)] -> [cond parts d]."""
  kernel = part["kernel"].reshape(COND, parts, WIDTH)
  return {"kernel": kernel, "bias": part["bias"].reshape(parts, WIDTH)}


def block(part: Mapping[str, np.ndarray]) -> dict:
  ours = {
    "attention": attention(below(part, "attention/")),
    "mlp": {
      name: {"kernel": part[f"feed_forward/{theirs}/kernel"]}
      for name, theirs in (("gate", "w1"), ("up", "w3"), ("down", "w2"))
    },
  }
  if "Dense_0/kernel" in part:
    return ours | {"modulation": {"linear": modulation(below(part, "Dense_0/"), 6)}}
  return ours | {
    "norm_attention": {"scale": part["RMSNorm_0/scale"]},
    "norm_mlp": {"scale": part["RMSNorm_1/scale"]},
  }


def attention(part: Mapping[str, np.ndarray]) -> dict:
  """Theirs turns neighbours, ours component i and i + k/2: even ones first."""
  heads = [part[f"w{x}/kernel"].reshape(WIDTH, HEADS, -1) for x in "qkv"]  # d h k
  k = WIDTH // HEADS
  order = np.concatenate([np.arange(0, k, 2), np.arange(1, k, 2)])
  query, key = (x[..., order] for x in heads[:2])
  return {
    "qkv": {"kernel": np.stack([query, key, heads[2]], axis=1)},  # d 3 h k
    "out": {"kernel": part["wo/kernel"].reshape(HEADS, -1, WIDTH)},  # h k d
  }


def below(weights: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
  """Entries whose name starts with `prefix`, without it."""
  return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
