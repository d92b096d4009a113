"""Every method, small: what the loop promises must hold for each of them."""

import dataclasses
import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from toys import rig
from toys.batches import batch_like

from mdm.training import build, compiling, config, loop, sharding
from mdm.training.feed import Feed
from mdm.training.optimizer import make_optimizer, make_schedule
from mdm.training.settings import Optimizer
from mdm.training.state import leaf_paths

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
  str(path.relative_to(ROOT))
  for path in ROOT.glob("configs/*/*.py")
  if path.parent.name != "claims"
)
WHOLE = ("bias", "scale", "norm/mean", "norm/var", "mixer/dt/kernel", "depthwise")
TABLE = Path(__file__).with_name("shardings.json")

READER = {
  "method": {"num_characters": 36, "canvas": 6, "copies": 2, "dropout": 0.1},
  "model": {
    "encoder": {"name": "columns.Columns", "width": 32, "stem": (8,), "window": 4,
                "stride": 4, "depth": 1, "heads": 2},
    "decoder": {"name": "transformer.CrossDecoder", "depth": 1, "heads": 2,
                "dropout": 0.1},
  },
}  # fmt: skip
TEXT = {
  "method": {},
  "model": {
    "network": {"name": "denoiser.Denoiser", "vocab_size": 39, "width": 16, "depth": 1,
                "heads": 2, "time": "adaln", "cond_width": 8, "zero_head": False,
                "dropout": 0.1},
  },
}  # fmt: skip
TIMELESS = {
  "method": {},
  "model": {
    "network": {"name": "denoiser.Denoiser", "vocab_size": 39, "width": 16, "depth": 1,
                "heads": 2, "zero_head": False, "dropout": 0.1},
  },
}  # fmt: skip
CAUSAL = {
  "method": {},
  "model": {"network": TIMELESS["model"]["network"] | {"is_causal": True}},
}
RECALL = {
  "method": {},
  "model": {
    "network": {"name": "zoology.Zoology", "vocab_size": 39, "width": 16, "depth": 1,
                "embed_dropout": 0.0,
                "mixer": {"name": "mixers.dense.DenseAttention", "heads": 2}},
  },
}  # fmt: skip
IMAGE = {
  "method": {},
  "model": {"encoder": {"name": "vit.Vit", "patch": 8, "width": 16, "depth": 1,
                        "heads": 2}},
}  # fmt: skip
MAE = {
  "method": {},
  "model": IMAGE["model"]
  | {
    "decoder": {
      "name": "patch_decoders.MaskedDecoder",
      "width": 16,
      "depth": 1,
      "heads": 2,
    }
  },
}
TWINS = IMAGE["model"] | {
  "decoder": {"name": "patch_decoders.TwinDecoder", "width": 16, "depth": 1, "heads": 2}
}
PLACES = {
  "method": {"mean": [0.5], "deviation": [0.25], "smoothing": 1.0},
  "model": {"encoder": IMAGE["model"]["encoder"]
            | {"positions": "none", "has_cls": False}},
}  # fmt: skip
CELLS = {
  "method": {"mean": [0.5], "deviation": [0.25], "mask_ratio": 0.5},
  "model": IMAGE["model"] | {"decoder": {"name": "patch_decoders.LinearDecoder"}},
}
CLASSES = {
  "method": {"mean": [0.5], "deviation": [0.25], "num_classes": 5, "smoothing": 0.1},
  "model": IMAGE["model"],
}
CHOICE = {
  "method": {"mean": [0.5], "deviation": [0.25], "patch": 8},
  "model": {
    "encoder": {"name": "resnet.ResNet", "widths": (4, 8, 16), "depths": (1, 1, 1),
                "groups": 3, "block": "basic", "stem": "small", "norm": "group"},
    "pooling": {"name": "transformer.Transformer", "depth": 1, "heads": 2,
                "dropout": 0.1},
  },
}  # fmt: skip
CTC = {
  "method": {"rate": 8_000, "bins": 16, "feature_norm": "utterance", "vocab_size": 39},
  "model": {
    "subsample": {"name": "subsample.ConvSubsampling", "channels": 4},
    "encoder": {"name": "conformer.Conformer", "width": 16, "depth": 1, "heads": 2,
                "dropout": 0.1},
  },
}  # fmt: skip
TRANSDUCER = {
  "method": {"rate": 8_000, "bins": 16, "feature_norm": "utterance"},
  "model": CTC["model"]
  | {
    "prediction": {"name": "lstm.Prediction", "vocab_size": 39, "width": 16},
    "joint": {"name": "joint.Joint", "vocab_size": 39, "width": 16, "chunk": 4},
  },
}
EAR = {"name": "conformer.Conformer", "width": 16, "depth": 1, "heads": 2}
CODES = {
  "method": {"rate": 8_000, "bins": 16, "feature_norm": "utterance", "negatives": 4,
             "contrast_width": 8, "alpha": 0.0, "budget": 1.0},
  "model": {
    "subsample": CTC["model"]["subsample"],
    "encoder": {"name": "tandem.Tandem", "first": EAR, "second": EAR},
    "quantizer": {"name": "quantizer.GumbelQuantizer", "entries": 8, "width": 8},
  },
}  # fmt: skip
FIXED = {
  "method": CTC["method"] | {"span": 12},
  "model": CODES["model"]
  | {"quantizer": {"name": "quantizer.RandomProjection", "entries": 8, "width": 4}},
}
del FIXED["method"]["vocab_size"]
GUIDED = {
  "method": CODES["method"],
  "model": CODES["model"]
  | {"scorer": CTC["model"] | {"name": "mdm.methods.speech.ctc", "vocab_size": 3,
                               "rate": 8_000, "bins": 16,
                               "feature_norm": "utterance"}},
}  # fmt: skip
SMALL = {
  "diffusion.block_diffusion": TIMELESS | {"method": {"block_length": 3}},
  "diffusion.llada": TIMELESS,
  "diffusion.mdiff4str": READER,
  "diffusion.mdiff4str_ctc": READER,
  "diffusion.md4": TEXT,
  "diffusion.mdlm": TEXT,
  "diffusion.genmd4": TEXT,
  "image.classify": CLASSES,
  "image.colormae": MAE
  | {"method": {"mean": [0.5], "deviation": [0.25], "patterns": 4}},
  "image.hpm": {"method": {"mean": [0.5], "deviation": [0.25]}, "model": TWINS},
  "image.mae": MAE | {"method": {"mean": [0.5], "deviation": [0.25]}},
  "image.mp3": PLACES,
  "image.mto": MAE | {"method": {"mean": [0.5], "deviation": [0.25]}},
  "image.simmim": CELLS,
  "image.selfie": CHOICE,
  "speech.ask2mask": GUIDED,
  "speech.best_rq": FIXED,
  "speech.ctc": CTC,
  "speech.transducer": TRANSDUCER,
  "speech.w2v_bert": CODES,
  "text.causal_lm": CAUSAL,
  "text.recall": RECALL,
  "text.simcse": {
    "method": {},
    "model": {
      "network": {
        "name": "bert.Bert",
        "vocab_size": 40,
        "width": 16,
        "depth": 2,
        "heads": 2,
        "length": 8,
        "dropout": 0.0,
      }
    },
  },
}
BASES = ["diffusion.mask_diffusion", "speech.masked"]  # what methods share, none itself
METHODS = sorted(SMALL)
IN_PAIRS = {"text.simcse"}  # whose loss compares all examples of a micro-batch
CUT = {"preset": "fsdp+tp", "data": 2, "fsdp": 2, "tensor": 2}
FAST = {"diffusion.mdiff4str_ctc", "diffusion.mdlm"}  # a reader and a text method
RESUMED = [
  pytest.param(m, marks=[] if m in FAST else pytest.mark.slow) for m in METHODS
]


def reader_batch(step, batch, canvas=6, size=(16, 32)):
  """Noise for images, words of unlike length on canvases."""
  rng = np.random.default_rng(step)
  length = rng.integers(1, canvas, batch)
  place = np.arange(canvas)
  tokens = rng.integers(1, 37, (batch, canvas))
  tokens = np.where(
    place < length[:, None], tokens, np.where(place == length[:, None], 0, 38)
  )
  return {
    "image": rng.integers(0, 256, (batch, *size, 1)).astype(np.uint8),
    "tokens": tokens.astype(np.int32),
    "valid": place <= length[:, None],
    "places": rng.integers(0, canvas, (batch, 2)).astype(np.int32),  # of questions
    "answers": rng.integers(0, 39, (batch, 2)).astype(np.int32),
    "label": rng.integers(0, 5, batch).astype(np.int32),
    "audio": 0.1 * rng.standard_normal((batch, 4_800), np.float32),
    "audio_length": rng.integers(3_600, 4_800, batch).astype(np.int32),
    "index": (np.arange(batch) + step * batch).astype(np.int32),
    "weight": np.ones(batch, np.float32),
  }


def small(name, **changes):
  cfg = config.base()
  cfg.method = {"name": name, **SMALL[name]["method"], **changes}
  cfg.model = json.loads(json.dumps(SMALL[name]["model"]))
  cfg.train.update(steps=4, batch=16, log_every=1, checkpoint_every=2, ema=0.9)
  return cfg


def feed(make=reader_batch, batch=16):
  def batches(start):
    step = start
    while True:
      yield make(step, batch)
      step += 1

  return Feed(batches, epoch=10)


def test_every_method_is_tested_here():
  assert build.modules_of("mdm.methods") == sorted(METHODS + BASES)


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_method_ends_in_the_same_state_bit_for_bit(name, tmp_path):
  cfg = small(name).lock()
  whole = loop.train(cfg, tmp_path / "whole", feed=feed())
  shutil.copytree(tmp_path / "whole", tmp_path / "half")
  shutil.rmtree(tmp_path / "half" / "checkpoints" / "4")
  starts = []

  def batches(start):
    starts.append(start)
    return feed().batches(start)

  half = loop.train(
    cfg, tmp_path / "half", feed=dataclasses.replace(feed(), batches=batches)
  )
  assert starts[-1] == 2
  assert rig.differing(rig.leaves(whole.state), rig.leaves(half.state)) == []


def drop_nothing(section):
  """Sets every dropout of a section to 0."""
  for key, value in section.items():
    if hasattr(value, "items"):
      drop_nothing(value)
    elif key == "dropout":
      section[key] = 0.0


def after_two_steps(name, folder, *, accumulate, **shape):
  """Losses and parameters without dropout, under SGD."""
  cfg = small(name)
  drop_nothing(cfg.method)
  drop_nothing(cfg.model)
  cfg.optimizer.update(
    name="sgd", learning_rate=0.1, schedule="constant", warmup=0, clip=0.0
  )
  cfg.train.update(steps=2, accumulate=accumulate)
  cfg.sharding.update(**shape)
  outcome = loop.train(cfg.lock(), folder, feed=feed())
  rows = (folder / "metrics.jsonl").read_text().splitlines()
  return [json.loads(row) for row in rows], rig.leaves(outcome.state.params)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_the_same_on_another_mesh_in_micro_batches(name, tmp_path):
  rows, params = after_two_steps(name, tmp_path / "a", accumulate=1)
  found, others = after_two_steps(
    name, tmp_path / "b", accumulate=1 if name in IN_PAIRS else 2, **CUT
  )
  for a, b in zip(rows, found, strict=True):
    for numbers in (a, b):  # of a whole micro-batch, no mean over it
      for key in [k for k in numbers if k.startswith(("codes/", "diversity"))]:
        del numbers[key]
    assert a == pytest.approx(b, rel=1e-5)  # sums of 16 x 2 x 6 terms in another order
  for leaf in params:
    np.testing.assert_allclose(
      params[leaf], others[leaf], rtol=0, atol=1e-5, err_msg=leaf
    )


@functools.cache
def planned(path, preset):
  """The state's shapes and shardings of a config on eight devices."""
  cfg = config.load(ROOT / path)

  def rows(step, batch):
    return batch_like(cfg, batch)

  cfg_mesh = build.build_section(
    loop.settings.Sharding,
    {"preset": preset, "data": 1, "fsdp": 0, "tensor": 0},
    "sharding",
  )
  method = build.build_method(cfg)
  adam = Optimizer()
  optimizer = make_optimizer(
    adam, make_schedule(adam, steps=10, epoch=5), method.trainable
  )
  abstract, _, _ = compiling.plan_state(
    method, optimizer, feed(rows, 8), mesh=sharding.make_mesh(cfg_mesh), preset=preset,
    seed=0, ema=0.9,
  )  # fmt: skip
  return abstract


def sharding_table():
  """Where each parameter that is cut lies, per config and preset, on 8 devices."""
  return {
    f"{path} {preset}": {
      name.removeprefix("params/"): " x ".join(str(axis) for axis in leaf.sharding.spec)
      for name, leaf in leaf_paths(planned(path, preset)).items()
      if name.startswith("params/") and any(leaf.sharding.spec)
    }
    for path in CONFIGS
    for preset in ("fsdp+tp",)
  }


def test_the_sharding_table_of_every_config_is_the_one_checked_in():
  """After a wanted change: write `sharding_table()` into the file as JSON."""
  assert sharding_table() == json.loads(TABLE.read_text())["configs"]


@pytest.mark.parametrize("path", CONFIGS)
def test_no_large_matrix_of_a_config_lies_whole_on_every_device(path):
  """However many layers are stacked, biases, scales and moments are vectors: whole.

  So do the few columns that score keys (`dt`), and the few rows of a depthwise kernel.
  """
  for preset in ("fsdp", "fsdp+tp"):
    for name, leaf in leaf_paths(planned(path, preset)).items():
      if leaf.size >= 1 << 14 and not name.endswith(WHOLE):
        assert any(leaf.sharding.spec), f"{name} {leaf.shape}"
