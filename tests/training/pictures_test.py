"""Pictures of a training: one file to a step, and no end when one is not to be had."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image
from toys import masked, rig

from mdm.training import loop
from mdm.training.illustrated import Illustrated
from mdm.training.pictures import PictureFiles
from mdm.training.stopping import StopRequest
from mdm.training.writers import read_rows


def square(value):
  return np.full((4, 6, 3), value, np.uint8)


def test_a_picture_is_a_file_named_by_its_evaluation_and_step(tmp_path):
  writer = PictureFiles(tmp_path)
  writer.write(7, {"loss": 1.0})
  assert list(tmp_path.iterdir()) == []
  writer.draw(7, {"filled": square(10), "other": square(20)})
  writer.draw(1_234_567, {"filled": square(30)})
  writer.close()
  found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")}
  assert found == {
    "pictures/filled/step_000007.png",
    "pictures/filled/step_1234567.png",
    "pictures/other/step_000007.png",
  }
  with Image.open(tmp_path / "pictures/other/step_000007.png") as picture:
    np.testing.assert_array_equal(np.asarray(picture), square(20))


def test_a_picture_drawn_again_replaces_the_old_one(tmp_path):
  PictureFiles(tmp_path).draw(1, {"a": square(1)})
  PictureFiles(tmp_path).draw(1, {"a": square(2)})
  [path] = (tmp_path / "pictures/a").iterdir()
  with Image.open(path) as picture:
    assert np.asarray(picture)[0, 0, 0] == 2


def test_numbers_with_a_picture_are_numbers_to_who_asks_for_these():
  found = Illustrated({"error": 0.5}, square(0))
  assert {**found} == {"error": 0.5} and found.picture.shape == (4, 6, 3)


def train(workdir):
  """The toy for six steps, evaluated after every third."""
  cfg = masked.get_config()
  cfg.train.update(steps=6, eval_every=3)
  shown = iter(range(100, 200))

  def evaluator(variables):
    """A number, and a picture of how often it was asked."""
    return Illustrated({"one": 1.0}, square(next(shown)))

  run = rig.prepare(workdir, cfg.lock())
  run = dataclasses.replace(
    run, evaluators={"seen": evaluator, "plain": lambda _: {"two": 2.0}}
  )
  with jax.set_mesh(run.mesh), StopRequest() as stop:
    state, last = loop.take_steps(run, loop.start_state(run), stop)
  run.checkpoints.close()
  return state, last


def test_every_evaluation_writes_its_picture_and_logs_its_numbers(tmp_path):
  _, last = train(tmp_path / "run")
  assert (last["seen/one"], last["plain/two"]) == (1.0, 2.0)
  paths = sorted((tmp_path / "run/pictures").rglob("*.png"))
  assert [p.name for p in paths] == ["step_000003.png", "step_000006.png"]
  values = [np.asarray(Image.open(path))[0, 0, 0] for path in paths]
  assert values == [100, 101]
  rows = read_rows(tmp_path / "run/metrics.jsonl")
  assert [row["step"] for row in rows if "seen/one" in row] == [3, 6]


def test_a_training_whose_pictures_cannot_be_written_says_so_and_goes_on(tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "pictures").write_text("a file is in the way")
  with pytest.warns(
    UserWarning, match=r"step_00000[36]\.png cannot be written"
  ) as told:
    state, last = train(tmp_path / "run")
  assert (int(state.step), last["seen/one"]) == (6, 1.0)
  assert sum("goes on without it" in str(w.message) for w in told) == 2
