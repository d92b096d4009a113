import numpy as np
import pytest
from toys.voices import as_wav, clip

from mdm import api
from mdm.api.data import check_audio, check_data


@pytest.fixture
def folder(tmp_path):
  """Three sounds with texts in a folder of their own."""
  for k, text in enumerate(("one", "two", "three")):
    (tmp_path / "train").mkdir(exist_ok=True)
    (tmp_path / f"train/{k}.wav").write_bytes(clip(0.5 + k))
    (tmp_path / f"train/{k}.txt").write_text(text)
  return tmp_path


def test_recordings_are_built_and_shown_as_their_texts(folder):
  overrides = (f"data.path={folder}", "data.tokens=characters")
  built = api.build_data("speech", overrides=overrides)
  assert built["folder"] == str(folder) and built["examples/train"] == 3
  shown = api.show_data("speech", folder / "none.png", overrides=overrides)
  assert [(r["text"], r["num_tokens"]) for r in shown] == [
    ("one", 3), ("two", 3), ("three", 5)
  ]  # fmt: skip
  assert not (folder / "none.png").exists()


def test_a_sound_is_checked_by_what_it_is(folder):
  assert check_data(str(folder / "train/1.wav")) == {
    "audio": str(folder / "train/1.wav"),
    "rate": 8_000,
    "seconds": 1.5,
    "channels": 1,
    "readable": True,
  }
  bad = {"silent": as_wav(np.zeros(800)), "cut off": clip(1.0)[:5_000]}
  for reason, content in bad.items():
    (folder / "bad.wav").write_bytes(content)
    with pytest.raises(ValueError, match=rf"bad\.wav is {reason}"):
      check_audio(folder / "bad.wav")
