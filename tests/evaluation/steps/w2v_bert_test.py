"""The reference problem of w2v-BERT. With MDM_TORCH=PYTHON, that interpreter's runs."""

import functools
import json
import os
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.steps import SMALL_SPEECH, make_fake

from mdm import cli
from mdm.evaluation.flops import count_flops
from mdm.evaluation.steps import bench as step_bench
from mdm.evaluation.steps import w2v_bert as step_w2v_bert
from mdm.evaluation.steps.problems import find_problem, problem_config
from mdm.evaluation.torch_process import TorchProcess
from mdm.training import build

BOTH = ("first", "second")


def small(*more):
  cfg = problem_config(find_problem("speech.w2v_bert"), [*SMALL_SPEECH, *more])
  return build.build_method(cfg), cfg


@functools.cache
def shapes(*more):
  """Shapes of parameters and of a batch."""
  method, cfg = small(*more)
  batch = step_w2v_bert.draw_batch(cfg)
  names = ("params", "mask", "augment", "noise", "dropout")
  keys = {name: jax.random.key(0) for name in names}
  init = functools.partial(method.init, train=True)
  return jax.eval_shape(init, keys, batch)["params"], batch


def test_the_default_blocks_are_equal_and_the_codebook_is_published():
  cfg = step_w2v_bert.make_config()
  told = step_w2v_bert.describe(build.build_method(cfg.lock()), cfg)
  blocks = told["config"]
  assert blocks["num_hidden_layers"] == 4 and blocks["intermediate_size"] == 4 * 384
  assert blocks["conv_dim"] == (256,) * 7  # 512 for 768 as published
  assert (blocks["num_codevector_groups"], blocks["num_codevectors_per_group"]) == (
    2, 320
  )  # fmt: skip
  assert told["frames"] == 150 and told["samples"] == 48_080  # 6 s and 3 s


def test_the_peer_is_told_every_size():
  told = step_w2v_bert.describe(
    *small(
      *(f"model.encoder.{stack}.kernel=3" for stack in BOTH),
      *(f"model.encoder.{stack}.positions='none'" for stack in BOTH),
      *(f"model.encoder.{stack}.mlp_ratio=2" for stack in BOTH),
      "model.encoder.second.depth=2",
      "method.mask_rate=0.04",
      "method.span=5",
      "method.kappa=0.2",
    )
  )
  found = told["config"]
  assert found["hidden_size"] == 24 and found["intermediate_size"] == 48
  assert found["num_hidden_layers"] == 3 and found["num_attention_heads"] == 2
  assert found["conv_depthwise_kernel_size"] == 3
  assert found["position_embeddings_type"] is None
  assert found["num_codevectors_per_group"] == 8 and found["codevector_dim"] == 12
  assert found["num_negatives"] == 5 and found["proj_codevector_dim"] == 8
  assert found["contrastive_logits_temperature"] == 0.2
  masks = {"mask_prob": 0.2, "mask_length": 5, "min_masks": 1}
  assert told["masks"] == pytest.approx(masks)


def test_both_see_as_many_frames():
  method, cfg = small("data.seconds=0.83")
  frames = step_w2v_bert.describe(method, cfg)["frames"]
  batch = step_w2v_bert.draw_batch(cfg)

  def prepare(batch):
    """Frames of a fresh front end."""
    keys = {"params": jax.random.key(0)}
    return method.init_with_output(keys, batch, train=False, method="prepare")[0]

  _, valid = jax.eval_shape(prepare, batch)
  assert valid.shape == (2, frames)
  samples = step_w2v_bert.peer_samples(frames)
  for given, made in ((samples, frames), (samples - 1, frames - 1)):
    for kernel, stride in zip(
      step_w2v_bert.KERNELS, step_w2v_bert.STRIDES, strict=True
    ):
      given = (given - kernel) // stride + 1
    assert given == made


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (("first.width=12",), "width = 12 first and 24 second has no peer"),
    (("second.norm=layer",), "norm = layer has no peer in PyTorch; set norm='batch'"),
    (("first.dropout=0.1",), "dropout = 0.1 has no peer"),
    (("first.window=(4, 4)",), r"window = \(4, 4\) has no peer"),
    (("first.positions=rotary", "second.positions=rotary"), "'rotary' is unknown"),
  ],
)
def test_blocks_that_the_peer_does_not_have_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    step_w2v_bert.describe(*small(*(f"model.encoder.{s}" for s in settings)))


def test_masks_that_the_peer_does_not_draw_are_refused():
  counted = small("method.mask_rule=count", "method.mask_ratio=0.3")
  assert step_w2v_bert.describe(*counted)["masks"]["mask_prob"] == 0.3
  with pytest.raises(ValueError, match="mask_rule = 'exact'"):
    step_w2v_bert.describe(*small("method.mask_rule=exact"))


def test_each_part_reads_its_own_networks_alone():
  method, cfg = small()
  params, batch = shapes()
  params = jax.tree.map(lambda x: jnp.full(x.shape, 0.1, x.dtype), params)
  parts = step_w2v_bert.model_parts(method, cfg)
  values = jax.jit(lambda params: [part.value(params, batch) for part in parts])

  def lost(place):
    """Which parts are NaN where all parameters of a place are."""
    broken = jax.tree_util.tree_map_with_path(
      lambda path, x: x * jnp.nan if place in jax.tree_util.keystr(path) else x, params
    )
    found = zip(parts, values(broken), strict=True)
    return {part.name for part, value in found if jnp.isnan(value)}

  assert lost("nowhere") == set()
  assert lost("first") == {"encoder", "encoder/first"}
  assert lost("second") == {"encoder"}
  assert lost("subsample") == {"front"}


def test_shares_are_those_of_blocks():
  parts = step_w2v_bert.model_parts(*small("model.encoder.second.depth=3"))
  assert [part.share for part in parts] == [1.0, 0.25, 1.0]


def test_products_of_blocks_are_counted():
  """Those of a block: 4 + 16 + 3 matrices of the width and two of scores; distances."""

  def flops(*more):
    method, cfg = small(*more)
    part = step_w2v_bert.model_parts(method, cfg)[0]
    return count_flops(part.value, *shapes(*more))

  n, d, rows = 20, 24, 2
  matrices = 2 * rows * n * 23 * d * d
  scores = 2 * rows * n * d * (2 * n + 2 * n - 1)
  distances = 2 * (2 * n - 1) * d * d
  more = flops("model.encoder.second.depth=2") - flops()
  assert more == matrices + scores + distances


def count_products(run, stop, began, **unused):
  """In place of what times the loop, which the test of MAE's step covers."""
  del stop, began, unused
  state, batch = run.make_state(), next(run.feed.batches(0))
  gflop = count_flops(run.step.jitted, state, batch, run.step.seed) / 1e9
  return state, {"step/products_gflop": gflop}, []


def test_the_step_is_timed_beside_a_peer_with_its_parts(tmp_path, monkeypatch, capsys):
  script, python = make_fake(tmp_path)
  monkeypatch.setattr(step_bench, "SCRIPT", script)
  monkeypatch.setattr(step_bench.bench, "bench_run", count_products)  # not the loop
  path = tmp_path / "bench.json"
  sets = [part for setting in SMALL_SPEECH for part in ("--set", setting)]
  sets += ["--set", f"train.batch={jax.device_count()}", "--rounds", "1"]
  ask = ["bench", "step", "speech.w2v_bert", *sets, "--torch", str(python)]
  assert cli.main([*ask, "--json", str(path)]) == 0
  report = json.loads(path.read_text())
  numbers, times = report["numbers"], report["times"]
  for part in ("encoder", "front"):
    ratio = times[f"torch/{part}"][0] / times[part][0]
    assert numbers[f"torch/{part}_over_ours"] == pytest.approx(ratio)
  assert "torch/encoder/first_s" not in numbers and "encoder/first_s" in numbers
  assert numbers["step/products_gflop"] > 0
  assert "torch/encoder_over_ours" in capsys.readouterr().out


@pytest.mark.skipif("MDM_TORCH" not in os.environ, reason="MDM_TORCH names no Python")
def test_pytorch_has_the_same_blocks_but_for_biases():
  python = os.environ["MDM_TORCH"]
  if subprocess.run([python, "-c", "import transformers"], check=False).returncode:
    pytest.skip("transformers is missing there")
  problem = find_problem("speech.w2v_bert")
  theirs, ours = [], []
  with TorchProcess(python, step_bench.SCRIPT, step_bench.NEEDS) as process:
    for depth in (3, 1):
      more = (f"model.encoder.second.depth={depth}",)
      method, cfg = small(*more)
      settings = step_w2v_bert.describe(method, cfg)
      told = step_bench.open_torch(process, problem, cfg, settings, 1)[1]
      theirs.append(told["parameters"])
      ours.append(sum(x.size for x in jax.tree.leaves(shapes(*more)[0])))
    assert told["parts"] == ["encoder", "front"]
    for kind in ("encoder", "front", "step_fused"):
      assert np.isfinite(process.ask(time=kind, steps=1)["loss"])
  two_blocks = 2 * 3 * 24  # biases of the gate and of what comes after the convolution
  assert ours[0] - ours[1] == theirs[0] - theirs[1] + two_blocks
