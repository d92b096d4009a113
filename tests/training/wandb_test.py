"""W&B's records, read back from the file that an offline run leaves."""

import json
import struct

import numpy as np
import pytest

from mdm.training.sounds import Sound
from mdm.training.writers import WeightsAndBiases, Writer, open_writers

wandb = pytest.importorskip("wandb", reason="needs pip install wandb")

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
SOUND = Sound(np.sin(np.arange(800) / 9).astype(np.float32), 8_000)


def read_history(folder):
  """What an offline run logged: rows of name to value.

  The file is LevelDB's log: after seven bytes, records of a checksum of four bytes, a
  length of two and a kind, in blocks of 32 KiB; these are small, each whole.
  """
  from wandb.proto import wandb_internal_pb2

  content, at, rows = next(folder.rglob("*.wandb")).read_bytes(), 7, []
  assert len(content) < 32_768
  while at < len(content):
    _, length, kind = struct.unpack_from("<IHB", content, at)
    assert kind == 1  # whole
    record = wandb_internal_pb2.Record()
    record.ParseFromString(content[at + 7 : at + 7 + length])
    at += 7 + length
    items = record.history.item
    rows.append({"/".join(i.nested_key): json.loads(i.value_json) for i in items})
  return rows


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
  """The folder of a run of two steps, a picture and a sound."""
  folder = tmp_path_factory.mktemp("words")
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("WANDB_PROJECT", "masks")
    patch.setenv("WANDB_SILENT", "true")
    writers = open_writers(folder, 0)
    writer = writers[-1]
    assert isinstance(writer, WeightsAndBiases) and isinstance(writer, Writer)
    writer.write(3, {"loss": 0.5})
    writer.draw(3, {"seen": PICTURE})
    writer.play(3, {"heard": SOUND})
    writer.write(6, {"loss": 0.25})
    for each in writers:
      each.close()
  return folder


def test_numbers_stand_at_their_steps(logged):
  rows = [row for row in read_history(logged) if "loss" in row]
  assert [(row["_step"], row["loss"]) for row in rows] == [(3, 0.5), (6, 0.25)]


def test_pictures_and_sounds_stand_beside_them(logged):
  row = next(row for row in read_history(logged) if "seen/_type" in row)
  assert (row["seen/width"], row["seen/height"]) == (6, 4)
  assert row["heard/_type"] == "audio-file"
  assert list(logged.rglob("*.wav")) and list(logged.rglob("*.png"))
