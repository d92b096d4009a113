import jax
import numpy as np
import pytest

from mdm import api, cli
from mdm.training import config
from mdm.training.lowering import lower_config

DOGE = "configs/text/doge_chars.py"
SMALL = ["data.length=512", "train.batch=4", "model.network.depth=1"]
SET = [word for setting in SMALL for word in ("--set", setting)]


@pytest.mark.parametrize(
  ("platform", "call"), [("tpu", "tpu_custom_call"), ("cuda", "__gpu")]
)
def test_our_kernels_are_lowered_without_the_platform(platform, call):
  found = api.lower_config(DOGE, platform, devices=2, overrides=SMALL)
  kernels = {name: n for name, n in found.calls.items() if call in name}
  assert sum(kernels.values()) >= 3  # forward, and backward of queries and of keys
  assert found.devices == 2 and found.size > 10_000
  assert f"lowers for {platform} on 2 devices" in found.describe()[0]


def test_a_backend_of_another_platform_does_not_lower():
  cfg = config.load(DOGE, [*SMALL, "model.network.mixer.backend=gpu"])
  shape = (4, 512)
  batch = {"tokens": jax.ShapeDtypeStruct(shape, np.int32),
           "valid": jax.ShapeDtypeStruct(shape, bool),
           "index": jax.ShapeDtypeStruct((4,), np.int32),
           "weight": jax.ShapeDtypeStruct((4,), np.float32)}  # fmt: skip
  with pytest.raises(ValueError, match="'gpu' runs on a gpu only"):
    lower_config(cfg, batch, "tpu", devices=jax.devices()[:2])


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    (["--topology", "v5e:2x2"], "compiles nothing; leave out --topology v5e:2x2"),
    (["--chip", "v5e"], "compiles nothing; leave out --chip v5e"),
    (["--devices", "3"], "does not divide over 3 devices"),
  ],
)
def test_what_cannot_be_lowered_is_one_sentence(options, sentence, capsys):
  assert cli.main(["compile", DOGE, "--platform", "tpu", *SET, *options]) == 1
  told = capsys.readouterr().err
  assert sentence in told and told.count("\n") == 1


def test_an_unknown_platform_is_refused():
  with pytest.raises(ValueError, match="platform"):
    api.lower_config(DOGE, "tpus", devices=2, overrides=SMALL)
