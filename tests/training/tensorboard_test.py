"""What a training gives to TensorBoard, read back from its files."""

import dataclasses
import io
import struct
import wave

import jax
import numpy as np
import pytest
from PIL import Image
from toys import masked, rig

from mdm.training import loop
from mdm.training.illustrated import Illustrated
from mdm.training.sounds import Sound
from mdm.training.stopping import StopRequest
from mdm.training.writers import TensorBoard

pytest.importorskip("tensorboardX")
TONE = np.sin(np.arange(800, dtype=np.float32) / 5)
PICTURE = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)


def _read(folder):
  """The events of a folder's files in order: records of a length, two sums, a text."""
  from tensorboardX.proto.event_pb2 import Event

  found = []
  for path in sorted(folder.glob("events.out.tfevents.*")):
    data, start = path.read_bytes(), 0
    while start < len(data):
      (size,) = struct.unpack("<Q", data[start : start + 8])
      found.append(Event.FromString(data[start + 12 : start + 12 + size]))
      start += 16 + size
  return found


def _values(folder):
  """Values by step and name."""
  return {
    (event.step, value.tag): value
    for event in _read(folder)
    for value in event.summary.value
  }


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """Six steps of the toy with an evaluation after every third."""
  workdir = tmp_path_factory.mktemp("board") / "run"
  cfg = masked.get_config()
  cfg.train.update(steps=6, eval_every=3)
  sounds = {"0": Sound(TONE, 8_000)}
  run = rig.prepare(workdir, cfg.lock())
  shown = {"seen": lambda _: Illustrated({"one": 0.5}, PICTURE, sounds)}
  run = dataclasses.replace(run, evaluators=shown)
  with jax.set_mesh(run.mesh), StopRequest() as stop:
    loop.take_steps(run, loop.start_state(run), stop)
  run.checkpoints.close()
  return workdir


def test_a_training_gives_its_numbers(trained):
  values = _values(trained)
  assert values[3, "seen/one"].simple_value == 0.5
  assert {step for step, name in values if name == "seen/one"} == {3, 6}
  assert any(name == "loss" for _, name in values)


def test_a_training_gives_its_pictures(trained):
  image = _values(trained)[6, "seen"].image
  found = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
  np.testing.assert_array_equal(found, PICTURE)


def test_a_training_gives_its_sounds_and_keeps_them_as_files(trained):
  audio = _values(trained)[3, "seen/0"].audio
  for file in (
    io.BytesIO(audio.encoded_audio_string),
    str(next(trained.rglob("*.wav"))),
  ):
    with wave.open(file, "rb") as wav:
      assert wav.getframerate() == 8_000
      samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    np.testing.assert_allclose(samples / 32_767, TONE, atol=2 / 32_767)
  assert len(list(trained.rglob("*.wav"))) == 2


def test_a_resume_voids_the_rows_that_it_repeats(tmp_path):
  for start in (0, 4):
    writer = TensorBoard(tmp_path, start)
    writer.write(start + 1, {"loss": 1.0})
    writer.close()
  starts = [e.step for e in _read(tmp_path) if e.HasField("session_log")]
  assert starts == [5]
