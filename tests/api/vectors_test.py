"""Files of vectors: of texts a line each, and of images."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from toys.sentences import publish

import mdm
from mdm import api, cli


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  folder = tmp_path_factory.mktemp("vectors")
  publish(folder / "published")
  api.import_weights(folder / "published", folder / "ours")
  return folder / "ours"


def test_every_line_and_every_given_text_has_a_vector(model, tmp_path):
  (tmp_path / "a.txt").write_text("w1 w2\n\nw3\n")
  (tmp_path / "b.txt").write_text("w4")
  files = [f"{tmp_path / name}" for name in ("a.txt", "b.txt")]
  out, report = tmp_path / "new/vectors.npy", tmp_path / "report.json"
  args = ["encode", f"{model}", *files, "--text", "w5", "--out", f"{out}"]
  assert cli.main([*args, "--json", f"{report}"]) == 0
  wanted = mdm.load(model).encode(["w1 w2", "", "w3", "w4", "w5"])
  np.testing.assert_array_equal(np.load(out, allow_pickle=False), wanted)
  told = json.loads(report.read_text())
  assert told["count"] == 5 and told["width"] == 24
  assert [path.name for path in out.parent.iterdir()] == ["vectors.npy"]


def test_images_have_vectors_too(tiny_mae, tmp_path):
  pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  report = api.encode(tiny_mae, [tmp_path / "a.png"], out=tmp_path / "a.npy")
  wanted = mdm.load(tiny_mae).encode([pixels])
  np.testing.assert_allclose(np.load(report["out"]), wanted, atol=1e-6)
  with pytest.raises(ValueError, match="encodes images, not texts"):
    api.encode(tiny_mae, texts=["a"], out=tmp_path / "a.npy")


@pytest.mark.parametrize(
  ("args", "answer"),
  [
    (("--out", "a.npz", "--text", "w1"), r"a\.npz must end in \.npy"),
    (("--out", "a.npy"), "nothing to encode"),
    (("--out", "a.npy", "/none.txt"), r"/none\.txt cannot be read"),
    (("--out", "a.npy", "{png}"), "is no text in UTF-8"),
  ],
)
def test_what_cannot_be_encoded_is_told(
  model, tmp_path, monkeypatch, capsys, args, answer
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "a.png").write_bytes(b"\x89PNG\xff\xfe")
  args = [arg.format(png="a.png") for arg in args]
  assert cli.main(["encode", f"{model}", *args]) == 1
  assert re.search(answer, capsys.readouterr().err)
  assert not (tmp_path / "a.npy").exists()
