"""A folder as TFDS leaves it, whose features say that its numbers are audio."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from toys.voices import clip, tone

from mdm.data import datasets
from mdm.data.array_folders import ArrayFolder, find_folder
from mdm.data.speech_records import open_clips

AUDIO = "tensorflow_datasets.core.features.audio_feature.Audio"
SIZES = {"train_clean100": 4, "train_other500": 2, "dev_clean": 3, "test_clean": 1}


class ToySpeech(tfds.core.GeneratorBasedBuilder):
  """Tones of 16 bits with texts; those of other rooms begin at 10."""

  VERSION = tfds.core.Version("1.0.0")

  def _info(self):
    features = {
      "speech": tfds.features.Tensor(shape=(None,), dtype=np.int16),
      "text": tfds.features.Text(),
      "speaker_id": np.int64,
      "id": np.str_,
    }
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(features)
    )

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples(name) for name in SIZES}

  def _generate_examples(self, split):
    for k in range(SIZES[split]):
      number = k + 10 * ("other" in split)
      samples = (32_768 * tone(0.5 + 0.01 * number, rate=16_000)).astype(np.int16)
      told = {"text": "A TEXT", "speaker_id": number, "id": f"n-{number}"}
      yield f"{split}-{k}", {"speech": samples, **told}


def call_audio(folder, **changes):
  """Rewrites what a folder says of its speech, as if it had TFDS's Audio feature."""
  path = folder / "features.json"
  content = json.loads(path.read_text())
  features = content["featuresDict"]["features"]
  stored = features["speech"].get("tensor") or features["speech"]["audio"]
  audio = {"shape": stored["shape"], "dtype": "int16", "encoding": "NONE"}
  audio |= {"sampleRate": "16000", "fileFormat": "flac", "lazyDecode": False}
  features["speech"] = {"pythonClassName": AUDIO, "audio": audio | changes}
  path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  home = tmp_path_factory.mktemp("home")
  tfds.disable_progress_bar()
  builder = ToySpeech(data_dir=str(home), file_format="array_record")
  builder.download_and_prepare()
  call_audio(home / "toy_speech/1.0.0")
  section = {"name": "tfds_speech", "tfds_name": "toy_speech", "data_dir": str(home)}
  datasets.prepare(**section)
  return section


def test_whole_numbers_become_samples_at_the_rate_that_the_feature_says(section):
  dataset = datasets.load(section | {"tokens": "characters"}, "train")
  records = [dataset.record(k) for k in range(len(dataset))]
  assert sorted(r["speaker"] for r in records) == ["0", "1", "10", "11", "2", "3"]
  for k, record in enumerate(records):
    wanted = tone(0.5 + 0.01 * int(record["speaker"]), rate=16_000)
    np.testing.assert_allclose(dataset.samples(k), wanted, atol=2**-15)
    assert record["text"] == "a text" and f"(n-{record['speaker']})" in record["name"]
  assert dataset.facts()["rate"] == 16_000


def test_splits_are_those_that_begin_with_the_name_or_are_named(section):
  counts = datasets.count_examples(section)
  assert counts == SIZES | {"train": 6, "validation": 3, "test": 1}
  assert len(datasets.load(section | {"train_split": "train_clean100"}, "train")) == 4
  assert len(datasets.load(section, "dev_clean+test_clean")) == 4
  with pytest.raises(ValueError, match="has no split 'dev'; it has train_clean100"):
    datasets.load(section, "dev")


def test_what_a_published_split_holds_is_read_once(section, monkeypatch):
  settings = datasets.read_settings(section)
  first = open_clips(settings, "validation").infos()
  clips = open_clips(settings, "validation")
  monkeypatch.setattr(clips, "_scan", lambda: pytest.fail("read again"))
  assert clips.infos() == first and clips.name(0).endswith(f"({first[0].key})")
  datasets.prepare(**section)  # the folder is still whole


def test_audio_that_is_decoded_late_is_the_bytes_of_a_file(tmp_path, section):
  folder = find_folder(datasets.read_settings(section).home(), "toy_speech")
  for name in ("features.json", "dataset_info.json"):
    (tmp_path / name).write_text((folder / name).read_text())
  call_audio(tmp_path, lazyDecode=True)
  found = ArrayFolder(tmp_path)
  assert isinstance(found.features["speech"], tfds.features.Text) and not found.rates
  with pytest.raises(ValueError, match="has no ArrayRecord files of 'dev_clean'"):
    found.open_split("dev_clean")
  record = found.features.encode_example(
    {"speech": clip(0.1), "text": "", "speaker_id": 0, "id": ""}
  )
  assert record["speech"] == clip(0.1)


def test_the_newest_version_is_found_and_what_is_not_built_is_named(tmp_path, section):
  for place in ("a/1.9.0", "a/1.10.0", "b/config/2.0.0", "a/incomplete.X_3.0.0"):
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "dataset_info.json").write_text("{}")
  wanted = {"a": "a/1.10.0", "a:1.9.0": "a/1.9.0", "b": "b/config/2.0.0",
            "b/config": "b/config/2.0.0"}  # fmt: skip
  for name, place in wanted.items():
    assert find_folder(tmp_path, name) == tmp_path / place
  assert find_folder(tmp_path, "c") is None
  with pytest.raises(ValueError, match="is not built; run `mdm data build tfds_speech"):
    datasets.load(section | {"tfds_name": "librispeech"}, "train")
  with pytest.raises(ValueError, match="cannot be read as a data set of TFDS"):
    ArrayFolder(tmp_path / "a/1.9.0")


def test_a_builder_that_needs_tensorflow_says_so(section, tmp_path):
  pytest.importorskip("tensorflow_datasets")
  try:
    import tensorflow  # noqa: F401
  except ModuleNotFoundError:
    with pytest.raises(ValueError, match="'librispeech' is built by TFDS with Tensor"):
      datasets.prepare("tfds_speech", str(tmp_path), tfds_name="librispeech")
