"""The reference problem of `speech.w2v_bert`: blocks 384 wide, 2 + 2; 4 clips of noise.

PyTorch's side is `Wav2Vec2ConformerForPreTraining` of transformers. Of equal size are

  the blocks     how many, width, heads, MLP, kernel, relative positions, batch norm
  their input    frames of a clip, none of them padding; nothing is dropped
  the codebook   groups, entries, width, and the width that is compared
  what is told   negatives of a hidden frame, length of spans, about the same share

The front ends are not: log-mel and two convolutions give a frame of 40 ms here, seven
convolutions on samples one of 20 ms there, so that PyTorch hears half as long a sound.
Its convolutions have two channels for three of the encoder's width, as published (512
for 768), and do about as many products as all blocks. A whole step therefore says which
recipe is cheaper, not which implementation is faster. That is told by `encoder`: noise
mapped to the width and all blocks, forward and backward, on both sides. `front` is all
before it.

Other differences, all small: only ours names codes (a second loss, its linear map); in
every block ours has two biases more; PyTorch has one norm more after the blocks and one
before them. Ours compares hidden frames in `budget` places, PyTorch all frames. Ours
draws masks and negatives on the device, PyTorch on the host in each pass; the latter's
convolution for positions, which no pass reads, is not trained.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float

from mdm.evaluation.steps.problems import Part, StepProblem
from mdm.masks.choices import check_choice
from mdm.methods.base import Method
from mdm.nn.conformer import Conformer
from mdm.nn.log_mel import num_frames
from mdm.nn.subsample import num_encoder_frames
from mdm.training import config

# What the peer's blocks are, and what ours must then be.
SAME = ("width", "heads", "kernel", "mlp_ratio", "positions")
FIXED = {
  "norm": "batch",
  "window": None,
  "causal": False,
  "conv_first": False,
  "dropout": 0.0,
}
POSITIONS = {"relative": "relative", "none": None}
KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # of its front end


def make_config() -> ml_collections.ConfigDict:
  """Blocks for a CPU; codebook, negatives and masks as wav2vec 2.0 published them."""
  cfg = config.base()
  stack = {
    "name": "conformer.Conformer",
    "width": 384,
    "depth": 2,
    "heads": 6,
    "kernel": 5,
    "norm": "batch",
  }
  cfg.method = {
    "name": "speech.w2v_bert",
    "rate": 16_000,
    "bins": 80,
    "mask_rate": 0.065,
    "span": 10,
    "negatives": 100,
    "contrast_width": 256,
  }
  cfg.model = {
    "subsample": {"name": "subsample.ConvSubsampling", "channels": 32},
    "encoder": {"name": "tandem.Tandem", "first": {**stack}, "second": {**stack}},
    "quantizer": {
      "name": "quantizer.GumbelQuantizer",
      "groups": 2,
      "entries": 320,
      "width": 256,
    },
  }
  cfg.data = {"seconds": 6.0}
  cfg.train.update({"steps": 100_000, "batch": 4})
  cfg.optimizer.update(
    {"learning_rate": 5e-4, "weight_decay": 0.01, "b2": 0.98, "clip": 0.0}
  )
  return cfg


def draw_batch(cfg: ml_collections.ConfigDict) -> dict[str, np.ndarray]:
  """Clips of noise, all of the same length."""
  rng = np.random.default_rng(cfg.seed)
  rows, samples = cfg.train.batch, count_samples(cfg)
  return {
    "audio": rng.normal(0.0, 0.1, (rows, samples)).astype(np.float32),
    "audio_length": np.full(rows, samples, np.int32),
    "index": np.arange(rows, dtype=np.int32),
    "weight": np.ones(rows, np.float32),
  }


def count_samples(cfg: ml_collections.ConfigDict) -> int:
  """Samples of a clip."""
  return int(cfg.data.seconds * cfg.method.rate)


def count_encoder_frames(method: Method, cfg: ml_collections.ConfigDict) -> int:
  """Frames of 40 ms that blocks see of a clip."""
  return int(num_encoder_frames(num_frames(count_samples(cfg), method.mel)))


def describe(method: Method, cfg: ml_collections.ConfigDict) -> dict[str, Any]:
  """What a `Wav2Vec2ConformerConfig` takes, samples of a clip, and how it is masked.

  Raises:
    ValueError: blocks or masks that it does not have.
  """
  first, second = method.encoder.first, method.encoder.second
  check_blocks(first, second)
  check_choice("method.mask_rule", method.mask_rule, ("bernoulli", "count"))
  by_rate = method.mask_rule == "bernoulli"
  book, width = method.quantizer, first.width
  return {
    "config": {
      "hidden_size": width,
      "num_hidden_layers": first.depth + second.depth,
      "num_attention_heads": first.heads,
      "intermediate_size": round(width * first.mlp_ratio),
      "conv_depthwise_kernel_size": first.kernel,
      "position_embeddings_type": POSITIONS[first.positions],
      "hidden_act": "silu",
      "conv_dim": (width * 2 // 3,) * len(KERNELS),
      "conv_kernel": KERNELS,
      "conv_stride": STRIDES,
      "num_codevector_groups": book.groups,
      "num_codevectors_per_group": book.entries,
      "codevector_dim": book.width,
      "proj_codevector_dim": method.contrast_width,
      "num_negatives": method.negatives,
      "contrastive_logits_temperature": method.kappa,
      "diversity_loss_weight": method.alpha,
    },
    "frames": count_encoder_frames(method, cfg),
    "samples": peer_samples(count_encoder_frames(method, cfg)),
    "masks": {
      "mask_prob": method.mask_rate * method.span if by_rate else method.mask_ratio,
      "mask_length": method.span,
      "min_masks": method.least_spans,
    },
  }


def check_blocks(first: Conformer, second: Conformer) -> None:
  """Checks that one stack of the peer's blocks is as large as both.

  Raises:
    ValueError: the stacks differ, or are what the peer's cannot be.
  """
  for name in SAME:
    ours, others = getattr(first, name), getattr(second, name)
    if ours != others:
      raise ValueError(
        f"model.encoder: {name} = {ours} first and {others} second has no peer in "
        "PyTorch; make them equal, or leave --vs out."
      )
  check_choice("model.encoder.first.positions", first.positions, tuple(POSITIONS))
  for stack in (first, second):
    for name, fixed in FIXED.items():
      if getattr(stack, name) != fixed:
        raise ValueError(
          f"model.encoder: {name} = {getattr(stack, name)} has no peer in PyTorch; set "
          f"{name}={fixed!r}, or leave --vs out."
        )


def peer_samples(frames: int) -> int:
  """The fewest samples of which the peer's convolutions make so many frames."""
  for kernel, stride in zip(reversed(KERNELS), reversed(STRIDES), strict=True):
    frames = (frames - 1) * stride + kernel
  return frames


def model_parts(method: Method, cfg: ml_collections.ConfigDict) -> Sequence[Part]:
  """All blocks, those of the contrast alone, and what comes before them."""
  first, second = method.encoder.first, method.encoder.second
  frames, rows = count_encoder_frames(method, cfg), cfg.train.batch
  width = -(-method.mel.num_bins // 4) * method.subsample.channels
  rng = np.random.default_rng(cfg.seed)
  noise = rng.normal(size=(rows, frames, width)).astype(np.float32)

  def encode(method: Any, batch: Mapping[str, Any]) -> jax.Array:
    """What comes out of both stacks."""
    del batch
    valid = jnp.ones((rows, frames), bool)
    encoded: jax.Array = method.encoder(jnp.asarray(noise), valid, train=True)
    return encoded

  def encode_first(method: Any, batch: Mapping[str, Any]) -> jax.Array:
    """What comes out of the first."""
    del batch
    valid = jnp.ones((rows, frames), bool)
    encoded: jax.Array = method.encoder.first(jnp.asarray(noise), valid, train=True)
    return encoded

  def front(method: Any, batch: Mapping[str, Any]) -> jax.Array:
    """Frames of 40 ms."""
    prepared: jax.Array = method.prepare(batch, train=True)[0]
    return prepared

  share = first.depth / (first.depth + second.depth)
  return [
    Part("encoder", 1.0, functools.partial(run_part, method, encode)),
    Part("encoder/first", share, functools.partial(run_part, method, encode_first)),
    Part("front", 1.0, functools.partial(run_part, method, front)),
  ]


def run_part(
  method: Method,
  part: Callable[[Any, Mapping[str, Any]], jax.Array],
  params: Any,
  batch: Mapping[str, Any],
) -> Float[Array, ""]:
  """A number that depends on all that comes out of a part, run as in training."""
  names = ("augment", "dropout", "noise")
  keys = {name: jax.random.key(i) for i, name in enumerate(names)}
  found, _ = method.apply(
    {"params": params},
    batch,
    rngs=keys,
    method=part,
    mutable=["batch_stats", "feature_stats"],
  )
  return jnp.square(found).sum()


PROBLEM = StepProblem(
  make_config, draw_batch, "w2v_bert_in_torch.py", describe, model_parts
)
