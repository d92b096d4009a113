"""Published weights as ours and back: by the commands, and what is refused."""

import json

import jax
import numpy as np
import pytest
from parity import doge as doge_original
from parity import mae as mae_original

import mdm
from mdm import api, cli
from mdm.api.weights import image_shape
from mdm.interop import doge, safetensors

HEADS = ("--heads", mae_original.HEADS)
BOTH = (*HEADS, "--decoder-heads", mae_original.DECODER_HEADS)
FILES = {
  "whole": (mae_original.weights(), "image.mae", BOTH),
  "encoder": (mae_original.encoder(), "image.base", HEADS),
  "mean": (mae_original.classifier("mean"), "image.classify", HEADS),
  "cls": (mae_original.classifier("cls"), "image.classify", HEADS),
}


def run(*args):
  return cli.main([str(a) for a in args])


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
  """Published files, and a Doge's folder."""
  folder = tmp_path_factory.mktemp("sources")
  for name, (arrays, _, _) in FILES.items():
    safetensors.save_variables(arrays, folder / f"{name}.safetensors")
  params, network = doge_original.params(), doge_original.network()
  doge.save_checkpoint(params, network, folder / "doge", length=64)
  return folder


@pytest.fixture(scope="module")
def imported(sources):
  """Every one of them, imported once."""
  for name, (_, _, known) in FILES.items():
    place = sources / "ours" / name
    assert run("import", sources / f"{name}.safetensors", place, *known) == 0
  assert run("import", sources / "doge", sources / "ours/doge") == 0
  return sources / "ours"


@pytest.mark.parametrize("name", FILES)
def test_imported_weights_load_and_come_back_as_they_were(name, imported, tmp_path):
  arrays, method, _ = FILES[name]
  assert mdm.load(imported / name).cfg.method.name == method
  assert run("export", imported / name, tmp_path / "back", "--layout", "mae") == 0
  again, _ = safetensors.read_arrays(tmp_path / "back/model.safetensors")
  assert again.keys() == arrays.keys()
  moved = {"cls_token", "pos_embed"} if method == "image.classify" else set()
  for key in arrays.keys() - moved:
    assert (again[key] == arrays[key]).all(), key
  whole = [x["cls_token"] + x["pos_embed"] for x in (arrays, again)]
  np.testing.assert_allclose(whole[0][:, 0], whole[1][:, 0], atol=1e-7)


def test_a_doge_loads_and_comes_back_bit_for_bit(imported, sources, tmp_path):
  model = mdm.load(imported / "doge")
  assert model.cfg.method.name == "text.causal_lm"
  assert run("export", imported / "doge", tmp_path / "back", "--layout", "doge") == 0
  (ours, _), (theirs, _) = (
    safetensors.read_arrays(place / "model.safetensors")
    for place in (tmp_path / "back", sources / "doge")
  )
  assert all((ours[name] == array).all() for name, array in theirs.items())
  configs = [
    json.loads((place / "config.json").read_text())
    for place in (tmp_path / "back", sources / "doge")
  ]
  for found in configs:
    del found["max_position_embeddings"]
  assert configs[0] == configs[1]


def test_features_of_an_imported_encoder_are_those_of_the_whole(imported):
  rng = np.random.default_rng(0)
  shape = image_shape(mdm.load(imported / "encoder").cfg)
  batch = {"image": rng.integers(0, 256, (2, *shape)).astype(np.uint8)}
  found = []
  for name in ("encoder", "whole"):
    model = mdm.load(imported / name)
    ask = jax.jit(lambda v, m=model.method: m.apply(v, batch, method="encode"))
    found.append(np.asarray(ask(model.variables)))
  np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_an_imported_autoencoder_fills_in_a_picture(imported, tmp_path):
  image = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
  api.plot(imported / "whole", [image], tmp_path / "a.png")
  assert (tmp_path / "a.png").stat().st_size > 1000


def test_settings_may_be_told_and_change_how_layers_lie(sources, tmp_path):
  given = ("--set", "model.encoder.scan=True", "--set", "method.norm_pixels=False")
  source = sources / "whole.safetensors"
  assert run("import", source, tmp_path / "a", *BOTH, *given) == 0
  model = mdm.load(tmp_path / "a")
  assert "blocks" in model.variables["params"]["encoder"]["stack"]
  assert "block_0" in model.variables["params"]["decoder"]["stack"]
  card = (tmp_path / "a/README.md").read_text()
  assert "norm_pixels is taken as False" in card and "whole.safetensors" in card
  assert str(tmp_path) not in card + (tmp_path / "a/config.json").read_text()


def test_a_training_starts_from_imported_weights(imported, tiny_mae, tmp_path):
  spec = mdm.load(imported / "whole").cfg.model.encoder.to_dict()
  rows, columns, _ = image_shape(mdm.load(imported / "whole").cfg)
  data = mdm.load(tiny_mae).cfg.data.to_dict() | {"image_size": (rows, columns)}
  outcome = api.train(
    "configs/image/mae_cifar10.py",
    tmp_path / "run",
    overrides=(
      f"data={data}",
      f"model.encoder={spec}",
      "model.decoder.width=8",
      "model.decoder.depth=1",
      "model.decoder.heads=2",
      "eval={}",
      f"init.run={imported / 'encoder'}",
      "init.parts={'encoder': 'encoder'}",
      "train.steps=1",
      "train.batch=8",
      "optimizer.learning_rate=1e-12",
      "optimizer.warmup=0",
    ),
  )
  ours = safetensors.flatten(outcome.state.params["encoder"])
  theirs = safetensors.flatten(
    mdm.load(imported / "encoder").variables["params"]["encoder"]
  )
  for name, leaf in theirs.items():
    np.testing.assert_allclose(ours[name], leaf, atol=1e-6)


def test_an_encoder_alone_does_not_learn(imported, tiny_mae, tmp_path):
  cfg = mdm.load(imported / "encoder").cfg.copy_and_resolve_references()
  cfg.unlock()
  rows, columns, _ = image_shape(cfg)
  cfg.data = mdm.load(tiny_mae).cfg.data.to_dict() | {"image_size": (rows, columns)}
  cfg.train.update(steps=1, batch=8)
  with pytest.raises(ValueError, match=r"no loss to learn by; .*init\.run"):
    api.train(cfg.lock(), tmp_path / "run")


def test_exported_weights_of_a_run_know_their_images_size(tiny_mae, tmp_path):
  folder = tmp_path / "weights"
  assert run("export", tiny_mae, folder) == 0
  (tmp_path / "mae").mkdir()
  assert run("export", tiny_mae, tmp_path / "mae", "--layout", "mae") == 0
  data = json.loads((folder / "config.json").read_text())["data"]
  assert (data["image_size"], data["channels"]) == ([16, 16], 3)
  model, own = mdm.load(folder), mdm.load(tiny_mae)
  for a, b in zip(
    jax.tree.leaves(model.variables), jax.tree.leaves(own.variables), strict=True
  ):
    assert (np.asarray(a) == np.asarray(b)).all()
  arrays, _ = safetensors.read_arrays(tmp_path / "mae/model.safetensors")
  assert arrays["patch_embed.proj.weight"].shape == (16, 3, 4, 4)


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    ("import whole.safetensors OUT", "pass heads="),
    ("import nothing.safetensors OUT", "does not exist"),
    ("import whole.pth OUT", "whole.pth does not exist"),
    ("import whole.safetensors OUT --layout bert", "name a checkpoint's folder"),
    ("import doge OUT --heads 2", "leave out --heads"),
    ("import ours OUT", "config.json does not exist"),
    ("import mean.safetensors doge --heads 3", "--force"),
    ("import mean.safetensors OUT --heads 3 --set method.pol=cls", "'method.pol'"),
    ("export ours/doge OUT --layout mae", "CausalLM with NoneType has no place"),
    ("export ours/whole OUT --layout doge", "holds decoder.Decoder"),
    ("export ours/whole OUT --layout mea", "mae"),
    ("export ours/whole OUT --layout mae --note x", "has no card"),
    ("export ours/whole doge --layout mae", "--force"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(
  sources, imported, tmp_path, monkeypatch, capsys, args, answer
):
  monkeypatch.chdir(sources)
  words = [str(tmp_path / "out") if word == "OUT" else word for word in args.split()]
  assert run(*words) == 1
  message = capsys.readouterr().err
  assert answer in message and message.count("\n") == 1
  assert not (tmp_path / "out").exists()
