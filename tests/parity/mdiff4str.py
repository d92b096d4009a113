"""The original's weights under our names: pure functions of a dict of NumPy arrays."""

import pathlib
from collections.abc import Mapping

import numpy as np

MIXERS, DIMS, HEADS = ("c", "cgg", "g"), (8, 16, 32), (2, 4, 4)
LAYERS, DECODER_HEADS, CHARACTERS, CANVAS = 2, 4, 94, 26


def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_mdiff4str.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("mdiff4str.npz")) as file:
    return dict(file)


def encoder_variables(stored: Mapping[str, np.ndarray]) -> dict:
  """Variables of `SVTR` (collections params and batch_stats) from `encoder/...`."""
  params, stats = {"stem": {}}, {"stem": {}}
  for i in range(2):
    stem = below(stored, f"encoder/pope.patch_embed.{i}.")
    params["stem"][f"conv_{i}"] = conv(below(stem, "conv."))
    params["stem"][f"norm_{i}"] = norm(below(stem, "norm."))
    stats["stem"][f"norm_{i}"] = {
      "mean": stem["norm.running_mean"],
      "var": stem["norm.running_var"],
    }
  for i, mixers in enumerate(MIXERS):
    stage = below(stored, f"encoder/stages.{i}.")
    if "downsample.conv.weight" in stage:
      params[f"down_{i + 1}"] = conv(below(stage, "downsample.conv."))
      params[f"norm_{i + 1}"] = norm(below(stage, "downsample.norm."))
    # The original counts the flattening before the first global block as a block.
    places = sorted({int(k.split(".")[1]) for k in stage if k.startswith("blocks.")})
    for j, (mixer, place) in enumerate(zip(mixers, places, strict=True)):
      block = below(stage, f"blocks.{place}.")
      make = conv_block if mixer == "c" else global_block
      params[f"stage_{i}_{j}"] = make(block, HEADS[i])
  return {"params": params, "batch_stats": stats}


def decoder_params(stored: Mapping[str, np.ndarray]) -> dict:
  """Parameters of `embed` (CanvasEmbed), `decoder` (CrossDecoder) and `classify`."""
  ours = below(stored, "decoder/")
  blocks = {
    f"block_{i}": cross_block(below(ours, f"decoder.{i}."), DECODER_HEADS)
    for i in range(LAYERS)
  }
  return {
    "embed": {
      "embedding": ours["embedding.embedding.weight"],
      "position": ours["pos_embed"][0],
    },
    "decoder": blocks,
    "classify": {"kernel": ours["tgt_word_prj.weight"].T},
  }


def conv_block(block: Mapping[str, np.ndarray], heads: int) -> dict:
  del heads
  return {
    "conv_0": conv(below(block, "mixer.0.")),
    "conv_1": conv(below(block, "mixer.1.")),
    "norm_mix": norm(below(block, "norm1.")),
    "norm_mlp": norm(below(block, "norm2.")),
    "mlp": mlp(below(block, "mlp.")),
  }


def global_block(block: Mapping[str, np.ndarray], heads: int) -> dict:
  return {
    "self_attention": {
      "qkv": linear(below(block, "mixer.qkv."), (3, heads, -1)),
      "out": merge(below(block, "mixer.proj."), heads),
    },
    "norm_self": norm(below(block, "norm1.")),
    "norm_mlp": norm(below(block, "norm2.")),
    "mlp": mlp(below(block, "mlp.")),
  }


def cross_block(block: Mapping[str, np.ndarray], heads: int) -> dict:
  return {
    "self_attention": {
      "qkv": linear(below(block, "self_attn.qkv."), (3, heads, -1)),
      "out": merge(below(block, "self_attn.out_proj."), heads),
    },
    "cross_attention": {
      "query": linear(below(block, "cross_attn.q."), (heads, -1)),
      "key_value": linear(below(block, "cross_attn.kv."), (2, heads, -1)),
      "out": merge(below(block, "cross_attn.out_proj."), heads),
    },
    "norm_self": norm(below(block, "norm1.")),
    "norm_cross": norm(below(block, "norm2.")),
    "norm_mlp": norm(below(block, "norm3.")),
    "mlp": mlp(below(block, "mlp.")),
  }


def mlp(part: Mapping[str, np.ndarray]) -> dict:
  return {
    "up": linear(below(part, "fc1."), (-1,)),
    "down": linear(below(part, "fc2."), (-1,)),
  }


def linear(part: Mapping[str, np.ndarray], features: tuple[int, ...]) -> dict:
  """[out in] -> [in *features]."""
  kernel = part["weight"].T
  return {
    "kernel": kernel.reshape(kernel.shape[0], *features),
    "bias": part["bias"].reshape(features),
  }


def merge(part: Mapping[str, np.ndarray], heads: int) -> dict:
  """[out (h k)] -> [h k out]."""
  kernel = part["weight"].T
  return {
    "kernel": kernel.reshape(heads, -1, kernel.shape[1]),
    "bias": part["bias"],
  }


def conv(part: Mapping[str, np.ndarray]) -> dict:
  """[out in y x] -> [y x in out]."""
  kernel = {"kernel": part["weight"].transpose(2, 3, 1, 0)}
  return kernel | ({"bias": part["bias"]} if "bias" in part else {})


def norm(part: Mapping[str, np.ndarray]) -> dict:
  return {"scale": part["weight"], "bias": part["bias"]}


def below(weights: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
  """Entries whose name starts with `prefix`, without it."""
  return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
