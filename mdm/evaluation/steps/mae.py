"""The reference problem of `image.mae`: ViT-B/16 at 224 pixels, 8 images of noise.

The encoder is also timed by itself, forward and backward, at several mask ratios: of
its tokens a class token and the patches that are kept are left.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, Int

from mdm.evaluation.steps.problems import Part, StepProblem
from mdm.masks.scores import count_kept
from mdm.methods.base import Method
from mdm.nn.patches import grid_of
from mdm.training import config

RATIOS = (0.0, 0.5, 0.75, 0.9)
CHANNELS = 3


def make_config() -> ml_collections.ConfigDict:
  """The model and optimiser as published, layers unrolled, everything kept."""
  cfg = config.base()
  cfg.method = {
    "name": "image.mae",
    "mask_ratio": 0.75,
    "norm_pixels": True,
    "crop_area": (),
    "flip": False,
  }
  cfg.model = {
    "encoder": {
      "name": "vit.Vit",
      "patch": 16,
      "width": 768,
      "depth": 12,
      "heads": 12,
    },
    "decoder": {
      "name": "patch_decoders.MaskedDecoder",
      "width": 512,
      "depth": 8,
      "heads": 16,
    },
  }
  cfg.data = {"image_size": (224, 224)}
  cfg.train.update({"steps": 100_000, "batch": 8})
  cfg.optimizer.update(
    {"learning_rate": 1.5e-4, "weight_decay": 0.05, "b2": 0.95, "clip": 0.0}
  )
  return cfg


def draw_batch(cfg: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
  """Images of noise, as bytes."""
  rng = np.random.default_rng(cfg.seed)
  shape = (cfg.train.batch, *cfg.data.image_size, CHANNELS)
  return {
    "image": rng.integers(0, 256, shape, np.uint8),
    "index": np.arange(cfg.train.batch, dtype=np.int32),
    "weight": np.ones(cfg.train.batch, np.float32),
  }


def describe(method: Method, cfg: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a `ViTMAEConfig` of transformers takes.

  Raises:
    ValueError: a rectangular image, which it does not have.
  """
  rows, columns = cfg.data.image_size
  if rows != columns:
    raise ValueError(
      f"data.image_size = {rows} x {columns} has no peer in PyTorch; make it square, "
      "or leave --vs out."
    )
  encoder, decoder = method.encoder, method.decoder
  return {
    "image_size": rows,
    "num_channels": CHANNELS,
    "patch_size": encoder.patch,
    "mask_ratio": method.mask_ratio,
    "norm_pix_loss": method.norm_pixels,
    "hidden_size": encoder.width,
    "num_hidden_layers": encoder.depth,
    "num_attention_heads": encoder.heads,
    "intermediate_size": round(encoder.width * encoder.mlp_ratio),
    "layer_norm_eps": encoder.epsilon,
    "decoder_hidden_size": decoder.width,
    "decoder_num_hidden_layers": decoder.depth,
    "decoder_num_attention_heads": decoder.heads,
    "decoder_intermediate_size": round(decoder.width * decoder.mlp_ratio),
  }


def encoder_parts(method: Method, cfg: ml_collections.ConfigDict) -> Sequence[Part]:
  """The encoder, as fewer and fewer patches are kept."""
  height, width = cfg.data.image_size
  rows, columns = grid_of(height, width, method.encoder.patch)
  patches = rows * columns
  others = int(method.encoder.has_cls)
  parts = []
  for ratio in RATIOS:
    kept = count_kept(patches, ratio, rounding=method.rounding) if ratio else patches
    keep = np.stack(
      [
        np.sort(np.random.default_rng(row).permutation(patches)[:kept])
        for row in range(cfg.train.batch)
      ]
    ).astype(np.int32)  # b k
    value = functools.partial(encode, method, keep)
    share = (kept + others) / (patches + others)
    parts.append(Part(f"encoder/{ratio:g}", share, value))
  return parts


def encode(
  method: Method, keep: Int[np.ndarray, "b k"], params: Any, batch: Mapping[str, Any]
) -> Float[Array, ""]:
  """A number that depends on every token of the patches that are kept."""

  def run(method: Method) -> jax.Array:
    """The encoder, as in training."""
    image = method.prepare(batch, train=False)
    return method.encoder(image, keep=jnp.asarray(keep), train=True)

  keys = {"dropout": jax.random.key(0)}
  tokens: Any = method.apply({"params": params}, rngs=keys, method=run)
  return jnp.square(tokens).sum()


PROBLEM = StepProblem(
  make_config, draw_batch, "mae_in_torch.py", describe, encoder_parts
)
