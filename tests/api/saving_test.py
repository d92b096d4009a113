"""A loaded model saved again: what comes back is what was."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import mdm
from mdm import api
from mdm.interop.card import replace_fact
from mdm.interop.safetensors import save_variables
from mdm.methods.image.classify import Classify


@pytest.fixture(scope="module")
def reader(tiny, tmp_path_factory):
  folder = tmp_path_factory.mktemp("saved") / "reader"
  mdm.load(tiny.run).save_pretrained(folder, notes=["Of noise."])
  return mdm.load(folder)


def equal(one, other):
  jax.tree.map(np.testing.assert_array_equal, dict(one), dict(other))


def test_a_run_that_was_saved_is_loaded_with_the_same_numbers(tiny, reader):
  run = mdm.load(tiny.run)
  equal(run.variables, reader.variables)
  assert reader.step == run.step and reader.method == run.method


def test_saving_a_run_is_exporting_it(tiny, reader, tmp_path):
  api.export(tiny.run, tmp_path / "reader", notes=["Of noise."])
  for name in ("model.safetensors", "config.json", "README.md"):
    there, here = tmp_path / "reader" / name, reader.folder / name
    assert there.read_bytes() == here.read_bytes()


def test_exported_weights_are_saved_again_bit_for_bit(reader, tmp_path):
  report = reader.save_pretrained(tmp_path / "again")
  again = tmp_path / "again"
  for name in ("model.safetensors", "config.json"):
    assert (again / name).read_bytes() == (reader.folder / name).read_bytes()
  assert report["step"] == reader.step
  assert report["bytes"] == (again / "model.safetensors").stat().st_size


def test_a_kept_card_has_the_new_name_and_the_new_size(reader, tmp_path):
  reader.save_pretrained(tmp_path / "half", dtype="bfloat16")
  old = (reader.folder / "README.md").read_text().splitlines()
  new = (tmp_path / "half" / "README.md").read_text().splitlines()
  changed = [line for line, was in zip(new, old, strict=True) if line != was]
  assert changed[0] == "# half"
  assert len(changed) == 2 and "parameters in bfloat16" in changed[1]


def test_half_weights_stay_half_and_come_back_as_they_were(reader, tmp_path):
  half = reader.save_pretrained(tmp_path / "half", dtype="bfloat16")
  kept = mdm.load(tmp_path / "half").save_pretrained(tmp_path / "kept")
  full = mdm.load(tmp_path / "half").save_pretrained(tmp_path / "full", dtype="float32")
  assert kept["bytes"] == half["bytes"] < 0.6 * full["bytes"]
  equal(mdm.load(tmp_path / "half").variables, mdm.load(tmp_path / "full").variables)


def test_a_classifier_takes_the_names_of_its_classes_along(tiny_mae, tmp_path):
  mae = mdm.load(tiny_mae)
  method = Classify(encoder=mae.method.encoder, num_classes=2)
  model = dataclasses.replace(mae, method=method)
  model.save_pretrained(tmp_path / "named")
  assert json.loads((tmp_path / "named/classes.json").read_text()) == ["cat", "dog"]


def test_a_tokenizer_comes_along(tiny_text, tmp_path):
  model = mdm.load(tiny_text.run)
  (tmp_path / "from").mkdir()
  (tmp_path / "from/tokenizer.json").write_text("{}")
  save_variables({"params": {"a": np.zeros(1)}}, tmp_path / "from/model.safetensors")
  moved = dataclasses.replace(model, folder=tmp_path / "from")
  moved.save_pretrained(tmp_path / "to")
  assert (tmp_path / "to/tokenizer.json").read_text() == "{}"


def test_images_of_the_data_sets_own_size_have_it_written_down(tiny_mae, tmp_path):
  model = mdm.load(tiny_mae)
  assert model.cfg.data.get("channels") is None
  model.save_pretrained(tmp_path / "mae")
  assert json.loads((tmp_path / "mae/config.json").read_text())["data"]["channels"] == 3


def test_a_model_is_not_saved_over_its_own_files(reader):
  with pytest.raises(ValueError, match="is where the model is from"):
    reader.save_pretrained(reader.folder, force=True)


def test_a_folder_that_holds_something_is_left_alone(reader, tmp_path):
  (tmp_path / "mine.txt").write_text("kept")
  with pytest.raises(ValueError, match="holds something already"):
    reader.save_pretrained(tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_notes_on_exported_weights_are_refused_before_anything_is_written(
  reader, tmp_path
):
  with pytest.raises(ValueError, match="keep the card that they have"):
    reader.save_pretrained(tmp_path / "a", notes=["More."])
  assert not (tmp_path / "a").exists()


def test_a_fact_is_replaced_and_a_missing_one_left_out():
  card = "# a\n| steps | 1 |\n| weights | 2 |\n"
  assert replace_fact(card, "weights", "3") == "# a\n| steps | 1 |\n| weights | 3 |\n"
  assert replace_fact(card, "note", "3") == card
