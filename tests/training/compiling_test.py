"""Steps compiled from shapes: the toy's, and those of a billion parameters."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest
from toys import masked, rig

from mdm.data import datasets
from mdm.evaluation.flops import count_flops
from mdm.training import compiling, config
from mdm.training.collectives import find_collectives
from mdm.training.state import leaf_paths

ROOT = Path(__file__).parents[2]
ROWS, SECONDS, RATE = 8, 32, 16_000
SMALL = ("bias", "scale", "depthwise")  # of all layers, and yet few


def toy():
  cfg = masked.get_config()
  cfg.sharding.update(preset="fsdp", data=1, fsdp=0, tensor=0)
  batch = masked.make_batch(0, cfg.train.batch)
  return cfg, {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in batch.items()}


@pytest.fixture(scope="module")
def compiled():
  before = len(jax.live_arrays())
  found = compiling.compile_step(*toy())
  assert len(jax.live_arrays()) == before, "arrays were made"
  return found


def test_memory_is_what_the_arrays_of_a_real_state_take_on_a_device(compiled):
  state = compiled.planned.make_state()

  def held(tree):
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))

  memory = compiled.memory
  assert memory["state"] == held(state)
  assert memory["parameters"] == held(state.params)
  assert memory["optimizer"] == held(state.opt_state)
  assert memory["parameters"] < 4 * compiled.parameters  # cut


def test_the_compiled_step_leaves_the_state_where_it_was(compiled):
  left, _ = compiled.program.output_shardings
  wanted = leaf_paths(compiled.planned.abstract_state)
  for name, sharding in leaf_paths(left).items():
    leaf = wanted[name]
    assert sharding.is_equivalent_to(leaf.sharding, leaf.ndim), name


def test_parameters_are_counted_over_all_devices(compiled):
  params = rig.leaves(compiled.planned.make_state().params)
  assert compiled.parameters == sum(leaf.size for leaf in params.values())


def test_a_step_can_be_compiled_for_some_of_the_devices(compiled):
  few = compiling.compile_step(*toy(), devices=jax.devices()[:2])
  assert few.parameters == compiled.parameters
  assert few.memory["batch"] == 4 * compiled.memory["batch"]
  assert few.memory["parameters"] > compiled.memory["parameters"]


def test_a_batch_of_other_rows_is_refused():
  cfg, batch = toy()
  cfg.train.batch *= 2
  with pytest.raises(ValueError, match=r"is no batch of train\.batch = .* make both"):
    compiling.compile_step(cfg, batch)


def long_text(*settings, mixer=None):
  """Dynamic mask attention at 32k tokens, or what becomes of it."""
  cfg = config.load(ROOT / "configs/text/doge_1b7_32k.py", settings)
  if mixer is not None:
    cfg = cfg.copy_and_resolve_references().unlock()
    cfg.model.network.mixer = mixer
  shapes = datasets.batch_shapes(cfg.data.to_dict(), cfg.train.batch)
  return cfg, {name: jax.ShapeDtypeStruct(*of) for name, of in shapes.items()}


def temporary(shards, mixer=None):
  """Bytes on each device beside the state, for one text of 4,096 tokens."""
  small = ("width=64", "depth=1", "vocab_size=256", "mixer.heads=2",
           "mixer.kv_heads=1", "mixer.window=64", "mixer.recent=16")  # fmt: skip
  given = [f"model.network.{setting}" for setting in small]
  given += ["train.batch=1", "data.length=4096", f"sharding.sequence={shards}"]
  step = compiling.compile_step(
    *long_text(*given, mixer=mixer), devices=jax.devices()[:shards]
  )
  return step.memory["temporary"]


@pytest.mark.slow
def test_a_text_cut_over_eight_devices_takes_less_than_half_of_each():
  dense = {"name": "mixers.dense.DenseAttention", "heads": 2}
  assert temporary(8, dense) < temporary(1, dense) / 2  # gathered keys are whole


@pytest.mark.slow
def test_of_a_dynamic_mask_nothing_large_is_whole_on_eight_devices():
  assert temporary(8) < temporary(1) / 5


@pytest.mark.slow
def test_texts_of_32k_tokens_compile_on_eight_devices_and_their_keys_stay_cut():
  found = compiling.compile_step(*long_text("train.batch=8"))
  axes = {"data": 1, "fsdp": 1, "sequence": 8, "tensor": 1}
  sent = find_collectives(found.program.as_text(), axes)
  # The best 1,024 of 8 shards, of 8 texts and 8 heads; whole keys are four times that.
  assert max(one.size for one in sent) <= 8 * 8 * 8_192 * 128 * 4
  assert found.memory["state"] == pytest.approx(12 * found.parameters / 8, rel=0.01)
  assert found.memory["state"] + found.memory["temporary"] < 32 * 2**30


def speech(depth, optimizer):
  """w2v-BERT with so many naming blocks, and eight crops of 32 s."""
  path = ROOT / "configs/speech/w2v_bert_xl.py"
  cfg = config.load(
    path,
    (
      f"model.encoder.second.depth={depth}",
      f"optimizer.name={optimizer}",
      f"train.batch={ROWS}",
    ),
  )
  shapes = {
    "audio": ((ROWS, SECONDS * RATE), np.float32),
    "audio_length": ((ROWS,), np.int32),
    "index": ((ROWS,), np.int32),
    "weight": ((ROWS,), np.float32),
  }
  return cfg, {name: jax.ShapeDtypeStruct(*of) for name, of in shapes.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("depth", "optimizer", "count", "published", "moments"),
  [
    pytest.param(12, "adamw", 584_645_728, 0.6e9, 2, id="XL"),
    pytest.param(30, "adafactor", 1_019_382_880, 1.0e9, 1, id="XXL"),
  ],
)
def test_published_w2v_bert_compiles_on_eight_devices_in_eight_parts(
  depth, optimizer, count, published, moments
):
  found = compiling.compile_step(*speech(depth, optimizer))
  assert found.parameters == count
  assert found.parameters == pytest.approx(published, rel=0.05)
  for name, leaf in leaf_paths(found.planned.abstract_state).items():
    if leaf.size >= 1 << 18 and not name.endswith(SMALL):
      part = math.prod(leaf.sharding.shard_shape(leaf.shape))
      assert 8 * part == leaf.size, f"{name} {leaf.shape}"
  memory, analysis = found.memory, found.program.memory_analysis()
  whole = 4 * count * (1 + moments)  # float32
  assert memory["parameters"] + memory["optimizer"] == pytest.approx(
    whole / 8, rel=0.02
  )
  assert analysis.argument_size_in_bytes == pytest.approx(
    memory["state"] + memory["batch"], rel=0.01
  )
  assert memory["state"] + memory["temporary"] < 5 * 2**30  # each has one crop's frames
  state, batch = found.planned.abstract_state, found.batch
  flops = count_flops(found.planned.step, state, batch)
  frames = ROWS * SECONDS * 25
  assert 1.0 < flops / (6 * count * frames) < 1.35  # attention and features on top
  print(f"{count:,} parameters; MiB on each of 8 devices:", {
    name: round(value / 2**20) for name, value in memory.items()
  }, f"{flops / 1e12:.1f} TFLOP a step")  # fmt: skip
