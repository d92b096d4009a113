import json

import pytest

from mdm import cli
from mdm.api.compiling import compile_config
from mdm.training import topology

CHARS = "configs/diffusion/md4_chars.py"
SMALL = ["model.network.depth=1", "model.network.width=32", "train.batch=8",
         "data.length=16", "sharding.preset=fsdp"]  # fmt: skip
SET = [word for setting in SMALL for word in ("--set", setting)]


@pytest.fixture(scope="module")
def found():
  """A small step on eight devices that stand for a chip."""
  return compile_config(CHARS, devices=8, chip="v5e", overrides=SMALL)


def test_a_config_is_compiled_without_its_data(found):
  told = found.forecast
  assert told.devices == 8 and told.seconds["step"] > 0
  kinds = {kind for kind, _ in told.traffic}
  assert "all-gather" in kinds and {axes for _, axes in told.traffic} == {("fsdp",)}
  assert found.batch["tokens"] == "int32[8, 16]"
  assert sum(p.bytes for p in found.parameters) == told.memory["parameters"]


def test_no_activations_are_gathered_under_fsdp():
  wide = [*SMALL, "model.network.width=256", "model.network.depth=2",
          "data.length=128", "train.batch=64"]  # fmt: skip
  told = compile_config(CHARS, devices=8, overrides=wide).forecast
  moves = ("all-gather", "all-to-all", "collective-permute")
  gathered = sum(n for (kind, _), (_, n) in told.traffic.items() if kind in moves)
  whole = 8 * told.memory["parameters"]
  assert gathered < 3 * whole  # forward, backward, and a little


def test_gradients_are_scattered_and_not_summed_whole(found):
  sent = {kind: n for (kind, _), (_, n) in found.forecast.traffic.items()}
  whole = 7 / 8 * 8 * found.forecast.memory["parameters"]  # of float32 gradients
  assert sent["reduce-scatter"] > 0.8 * whole
  assert sent.get("all-reduce", 0.0) < 0.2 * whole


def test_the_table_shows_where_parameters_lie(found, capsys, tmp_path):
  out = tmp_path / "step.json"
  command = ["compile", CHARS, "--devices", "8", "--chip", "v5e", "--table"]
  assert cli.main([*command, "--json", str(out), *SET]) == 0
  printed = capsys.readouterr().out
  (row,) = (line for line in printed.splitlines() if "mlp/up/kernel" in line)
  assert "embed x mlp" in row and "fsdp x None" in row
  assert "examples/s" in printed
  plain = json.loads(out.read_text())
  assert plain["parameters"] == found.forecast.parameters
  assert len(plain["table"]) == len(found.parameters)


@pytest.mark.parametrize(
  ("options", "sentence"),
  [
    (["--devices", "999"], "999 is more than the 8 CPU devices"),
    (["--devices", "0"], "--devices 0 must be 1 or more"),
    (["--devices", "8", "--topology", "v5e:2x4"], "has its own devices; leave out"),
    (["--devices", "8", "--set", "sharding.fsdp=3"], "does not multiply to 8 devices"),
    (["--chip", "h10"], "'h10' is not a chip; did you mean h100"),
    (["--topology", "v9:2x2"], "'v9' is not a chip"),
    (["--devices", "8", "--set", "train.batch=12"], "does not divide over 8 devices"),
    (
      ["--devices", "8", "--chip", "v5e", "--set", "train.batch=4194304"],
      "too many; train.accumulate=",
    ),
  ],
)
def test_what_cannot_be_compiled_is_one_sentence(options, sentence, capsys):
  assert cli.main(["compile", CHARS, *SET, *options]) == 1
  told = capsys.readouterr().err
  assert sentence in told and told.count("\n") == 1


def test_a_topology_without_its_compiler_says_how_to_get_it(monkeypatch, capsys):
  monkeypatch.setattr(topology, "has_libtpu", lambda: False)
  assert cli.main(["compile", CHARS, *SET, "--topology", "v5e:2x2"]) == 1
  told = capsys.readouterr().err
  assert "not installed; pip install" in told and told.count("\n") == 1


def test_floors_are_what_is_counted_by_hand():
  cut = [*SMALL, "sharding.preset=dp"]  # 8 devices, each with one text of 16 tokens
  told = compile_config(CHARS, devices=8, chip="v5e", overrides=cut).forecast
  width, hidden, vocab, n = 32, 128, 27, 16
  weights = (
    4 * width * width + 2 * width * hidden + width * vocab
  )  # qkv, out; mlp; head
  forward = 2 * n * weights + 2 * (2 * n * n * width)  # scores, and what they weigh
  assert told.flops == 3 * forward  # two products backward for each forward
  assert told.seconds["compute"] == pytest.approx(3 * forward / 197e12)
  parameters = weights + (vocab + 1) * width + 3 * width  # embedding with MASK; norms
  assert told.parameters == parameters
  summed = 4 * (parameters + 4)  # float32: gradients and four numbers of the losses
  sent = 2 * 7 / 8 * summed  # a ring sums in two rounds, each of 7 parts of 8
  assert sum(n for _, n in told.traffic.values()) == pytest.approx(sent)
  assert told.seconds["links"] == pytest.approx(sent / 100e9)
  moved = 2 * (told.memory["state"] + told.memory["temporary"]) + told.memory["batch"]
  assert told.memory["state"] == pytest.approx(4 * 4 * parameters, rel=1e-3)
  assert told.seconds["memory"] == pytest.approx(
    moved / 819e9
  )  # moments, ema: 4 copies


def test_what_is_advised_does_fit():
  large = [*SMALL, "train.batch=4194304"]
  with pytest.raises(ValueError, match=r"too many; train\.accumulate=") as error:
    compile_config(CHARS, devices=8, chip="v5e", overrides=large)
  advice = str(error.value).partition("too many; ")[2].split()[0]
  found = compile_config(CHARS, devices=8, chip="v5e", overrides=[*large, advice])
  assert found.forecast.memory["total"] <= found.forecast.capacity
