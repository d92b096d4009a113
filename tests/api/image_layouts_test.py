"""Published ViTs by the commands: what they name, fill in and give back."""

import json

import jax
import numpy as np
import pytest
from parity import vit as original
from PIL import Image
from scipy.special import softmax

import mdm
from mdm import cli
from mdm.interop import safetensors

STORED = original.numbers()
IMAGES = list(STORED["input/image"])
METHODS = {"classifier": "image.classify", "encoder": "image.base", "mae": "image.mae"}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 20}
KINDS = {"classifier": "vit", "encoder": "vit", "mae": "vit_mae"}


def run(*args):
  return cli.main([str(a) for a in args])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """Published folders, and each of them imported."""
  folder = tmp_path_factory.mktemp("vit")
  for name in METHODS:
    original.write(name, folder / "theirs" / name, HALF)
    assert run("import", folder / "theirs" / name, folder / "ours" / name) == 0
  return folder


@pytest.mark.parametrize("name", METHODS)
def test_imported_weights_load_and_come_back(name, folders, tmp_path):
  model = mdm.load(folders / "ours" / name)
  assert model.cfg.method.name == METHODS[name]
  args = ("export", folders / "ours" / name, tmp_path / "back", "--layout", KINDS[name])
  assert run(*args) == 0
  assert run("import", tmp_path / "back", tmp_path / "again") == 0
  again = mdm.load(tmp_path / "again")
  jax.tree.map(np.testing.assert_array_equal, model.variables, again.variables)
  assert again.method == model.method
  theirs, back = (
    json.loads((place / "config.json").read_text())
    for place in (folders / "theirs" / name, tmp_path / "back")
  )
  unread = {"initializer_range", "encoder_stride", "pooler_act", "pooler_output_size"}
  unread |= {k for k in theirs if k.startswith("decoder_")} if name != "mae" else set()
  unread |= {"label2id"}  # of two classes with one name theirs is empty
  both = [{k: v for k, v in x.items() if k not in unread} for x in (back, theirs)]
  assert both[0] == both[1]
  prepared = json.loads((tmp_path / "back/preprocessor_config.json").read_text())
  assert prepared["image_mean"] == prepared["image_std"] == [0.5] * 3
  assert prepared["size"] == {"height": 20, "width": 20}


def test_images_are_named_as_by_the_original(folders):
  model = mdm.load(folders / "ours/classifier")
  assert model.classes == ("ant", "bee", "crane", "crane")
  wanted = softmax(STORED["classifier/logits"], axis=1)
  for naming, sure in zip(model.predict(IMAGES, top=1), wanted, strict=True):
    assert naming.label == model.classes[sure.argmax()]
    np.testing.assert_allclose(naming.confidence, sure.max(), rtol=1e-4)


def test_an_encoder_gives_the_originals_features(folders):
  found = mdm.load(folders / "ours/encoder").encode(IMAGES, pool="cls")
  np.testing.assert_allclose(found, STORED["encoder/states"][:, 0], atol=1e-5)


def test_an_autoencoder_fills_images_in(folders):
  model = mdm.load(folders / "ours/mae")
  assert model.method.norm_pixels and model.method.mask_ratio == 0.75
  found = model.reconstruct(IMAGES)
  assert [filled.mask.sum() for filled in found] == [19, 19, 19]


def test_the_card_says_how_images_are_prepared(folders):
  card = (folders / "ours/classifier/README.md").read_text()
  assert "method.mean = [0.5, 0.5, 0.5]" in card and "--layout vit " in card
  assert "mdm predict classifier photo.jpg" in card
  assert not (folders / "ours/encoder/classes.json").exists()


def test_settings_may_be_told_and_change_how_layers_lie(folders, tmp_path):
  given = ("--set", "model.encoder.scan=True", "--set", "data.crop=center")
  assert run("import", folders / "theirs/mae", tmp_path / "a", *given) == 0
  model = mdm.load(tmp_path / "a")
  assert "blocks" in model.variables["params"]["encoder"]["stack"]
  assert run("export", tmp_path / "a", tmp_path / "b", "--layout", "vit_mae") == 0
  arrays, _ = safetensors.read_arrays(tmp_path / "b/model.safetensors")
  query = "vit.encoder.layer.1.attention.attention.query.weight"
  np.testing.assert_array_equal(arrays[query], original.weights("mae")[query])
  prepared = json.loads((tmp_path / "b/preprocessor_config.json").read_text())
  assert prepared["size"] == {"shortest_edge": 20} and prepared["do_center_crop"]


def test_a_run_is_exported_for_transformers(tiny_mae, tmp_path):
  assert run("export", tiny_mae, tmp_path / "a", "--layout", "vit_mae") == 0
  assert run("import", tmp_path / "a", tmp_path / "b") == 0
  model, own = mdm.load(tmp_path / "b"), mdm.load(tiny_mae)
  jax.tree.map(np.testing.assert_array_equal, model.variables, own.variables)
  image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
  for a, b in zip(model.reconstruct([image]), own.reconstruct([image]), strict=True):
    np.testing.assert_array_equal(a.filled, b.filled)


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    ("export ours/mae OUT --layout vit", "method = 'Mae' has no place in the layout"),
    ("export ours/classifier OUT --layout vit_mae", "method = 'Classify' has no place"),
    ("export ours/encoder OUT --layout vit_mae", "positions = 'learned' has no place"),
    ("export reader OUT --layout vit", "has no place in the layout vit, which holds"),
    ("import theirs/mae OUT --layout vot", "did you mean 'vit'"),
    ("import theirs/mae OUT --layout doge", "vit_mae"),
    ("import theirs/mae OUT --heads 2", "leave out --heads"),
    ("import strange OUT", "'resnet', which is not known here; known: doge, bert, "),
    ("import theirs/mae OUT --set method.mask_ration=1", "'method.mask_ration'"),
  ],
)
def test_bad_input_is_refused_in_one_sentence(
  folders, tmp_path, monkeypatch, capsys, args, answer
):
  monkeypatch.chdir(folders)
  (folders / "strange").mkdir(exist_ok=True)
  (folders / "strange/config.json").write_text('{"model_type": "resnet"}')
  words = [str(tmp_path / "out") if word == "OUT" else word for word in args.split()]
  assert run(*words) == 1
  message = capsys.readouterr().err
  assert answer in message and message.count("\n") == 1
  assert not (tmp_path / "out").exists()


def test_a_photo_is_prepared_as_by_the_original(folders, tmp_path):
  given = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "resample": 3}
  original.write("encoder", tmp_path / "theirs", given)
  assert run("import", tmp_path / "theirs", tmp_path / "ours") == 0
  model = mdm.load(tmp_path / "ours")
  pixels = model.view(STORED["input/photo"])
  ready = model.method.bind({}).prepare({"image": pixels[None]}, train=False)[0]
  np.testing.assert_allclose(ready, STORED["output/photo"], atol=1e-5)


def test_an_image_of_another_size_is_stretched_as_the_processor_says(folders):
  model = mdm.load(folders / "ours/classifier")
  wide = np.repeat(IMAGES[0], 2, axis=1)  # b 2x
  square = np.asarray(Image.fromarray(wide).resize((20, 20), Image.Resampling.BICUBIC))
  assert model.predict([wide]) == model.predict([square])
