from pathlib import Path

import pytest

from mdm import cli
from mdm.api.compile_samplers import find_verb
from mdm.api.compiling import compile_config
from mdm.training import build, config

ROOT = Path(__file__).parents[2]
CHARS = ROOT / "configs/diffusion/md4_chars.py"
DIGITS = ROOT / "configs/speech/ctc_digits.py"
NAMED = {
  "diffusion/md4_chars": "sample",
  "diffusion/llada_8b": "sample",
  "diffusion/block_diffusion_owt": "sample",
  "diffusion/md4_cifar10": "sample",
  "diffusion/mdiff4str_tiny": "predict",
  "text/causal_chars": "sample",
  "speech/ctc_digits": "transcribe",
  "image/mae_cifar10": "reconstruct",
  "image/hpm_cifar10": "reconstruct",
  "image/finetune_cifar10": "classify",
}
SMALL = ["model.network.depth=2", "model.network.width=32", "model.network.heads=2",
         "train.batch=8", "data.length=16", "sharding.preset=fsdp"]  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_a_method_is_asked_for_what_it_is_for(name):
  method = build.build_method(config.load(ROOT / f"configs/{name}.py"))
  assert find_verb(method) == NAMED[name]


@pytest.fixture(scope="module")
def found():
  """A small sampler on eight devices."""
  return compile_config(CHARS, devices=8, chip="v5e", overrides=SMALL, what="sample")


def test_a_pass_of_a_sampler_costs_a_forward_pass(found):
  told, step = found.forecast, compile_config(CHARS, devices=8, overrides=SMALL)
  assert step.forecast.flops / told.flops == pytest.approx(3.0, rel=0.1)
  assert set(told.rates) == {"passes_per_s"}
  assert "a pass" in "\n".join(found.describe())
  assert found.batch == {"keys": "key<fry>[8]", "tokens": "int32[8, 16]"}


def test_variables_lie_as_in_training_and_nothing_else_is_kept(found):
  told, step = found.forecast, compile_config(CHARS, devices=8, overrides=SMALL)
  assert told.memory["parameters"] == step.forecast.memory["parameters"]
  assert told.memory["state"] == told.memory["parameters"]
  kinds = {kind for kind, _ in told.traffic}
  assert "all-gather" in kinds and "reduce-scatter" not in kinds  # no gradients


def test_a_recogniser_that_does_not_loop_is_told_whole():
  wide = compile_config(DIGITS, devices=2, chip="v5e", what="sample", rows=4)
  assert wide.batch["audio"] == "float32[4, 9600]"
  rates = wide.forecast.rates
  assert rates["samples_per_s"] == pytest.approx(9600 * rates["examples_per_s"])
  assert wide.forecast.traffic == {}


@pytest.mark.parametrize(
  ("path", "options", "sentence"),
  [
    ("configs/speech/w2v_bert_prompts.py", ["--what", "sample"], "nothing to sample"),
    ("configs/diffusion/md4_chars.py", ["--rows", "8"], "add --what sample"),
    (
      "configs/diffusion/md4_chars.py",
      ["--what", "sample", "--rows", "12"],
      "--rows 12 does not divide over 8 devices; use a multiple of 8",
    ),
  ],
)
def test_what_cannot_be_sampled_is_one_sentence(path, options, sentence, capsys):
  assert cli.main(["compile", str(ROOT / path), "--devices", "8", *options]) == 1
  told = capsys.readouterr().err
  assert sentence in told and told.count("\n") == 1
