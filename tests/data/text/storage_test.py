import shutil

import numpy as np
import pytest

from mdm.data import datasets
from mdm.data.text import storage


@pytest.fixture
def built(section, tmp_path):
  """A section with a folder of sources and a data set of its own, and both folders."""
  sources = shutil.copytree(section["path"], tmp_path / "sources")
  own = section | {"data_dir": str(tmp_path / "home"), "path": str(sources)}
  return own, sources, datasets.prepare(**own)


def count(section):
  return datasets.load(section, "train").describe()["num_documents"]


@pytest.mark.parametrize(("vocab_size", "size"), [(256, 1), (257, 2), (65_537, 4)])
def test_ids_are_kept_in_the_smallest_type(tmp_path, vocab_size, size):
  ids = np.array([0, vocab_size - 1, 7])
  pieces = [ids[:2], ids[:0], ids[2:]]
  assert storage.write_tokens(tmp_path, "train", vocab_size, pieces) == 3
  assert (tmp_path / "train.tokens").stat().st_size == 3 * size
  (tmp_path / "info.json").write_text(f'{{"dtype": "<u{size}"}}')
  assert storage.open_tokens(tmp_path, "train").tolist() == ids.tolist()
  with pytest.raises(ValueError, match="'test' has no token"):
    storage.write_tokens(tmp_path, "test", vocab_size, [])


def test_building_again_does_nothing_and_force_builds_the_same(built):
  path = built[2] / "train.tokens"
  before, content = path.stat().st_mtime_ns, path.read_bytes()
  assert datasets.prepare(**built[0]) == built[2]
  assert path.stat().st_mtime_ns == before
  datasets.prepare(**built[0], force=True)
  assert path.stat().st_mtime_ns != before
  assert path.read_bytes() == content


def test_sources_that_changed_are_built_anew_and_gone_ones_are_not_missed(built):
  section, sources, _ = built
  before = count(section)
  (sources / "25.txt").write_text("A story more.")
  datasets.prepare(**section)
  whole = sum(
    datasets.load(section, s).describe()["num_documents"]
    for s in ("train", "validation", "test")
  )
  assert whole == 25 >= before
  shutil.rmtree(sources)
  datasets.prepare(**section)
  assert count(section)


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "manifest"])
def test_a_damaged_file_is_named_with_the_remedy_and_force_repairs(built, damage):
  section, _, folder = built
  path = folder / "train.tokens"
  content = bytearray(path.read_bytes())
  if damage == "truncate":
    path.write_bytes(content[:-10])
  elif damage == "flip":
    content[-5] ^= 1
    path.write_bytes(content)
  elif damage == "delete":
    path.unlink()
  else:
    path = folder / "checksums.json"
    path.unlink()
  for read in (
    lambda: datasets.load(section),
    lambda: datasets.count_examples(section),
  ):
    with pytest.raises(
      ValueError, match=r"mdm data build text --force.*data\.path="
    ) as e:
      read()
    assert path.name in str(e.value)
  datasets.prepare(**section, force=True)
  assert count(section)


def test_what_is_not_built_is_refused_with_the_command(section, tmp_path):
  for other in ({"data_dir": str(tmp_path)}, {"seed": 9}, {"tokenizer": "bytes"}):
    with pytest.raises(ValueError, match="is not built; run `mdm data build text"):
      datasets.load(section | other, "train")


def test_a_build_that_fails_or_is_cut_leaves_what_was_there(built):
  section, sources, folder = built
  aside = folder.with_name(f".{folder.name}.incomplete")
  aside.mkdir()
  (aside / "train.tokens").write_bytes(b"half")
  (sources / "00.txt").write_bytes(b"\xff")
  with pytest.raises(ValueError, match=r"00\.txt is not UTF-8"):
    datasets.prepare(**section)
  assert count(section)
  (sources / "00.txt").write_text("A story of its own.")
  datasets.prepare(**section)
  assert not aside.exists()


def test_a_fixed_tokenizer_needs_no_data_and_a_learned_one_is_beside_it(section):
  settings = datasets.read_settings(section)
  assert storage.open_tokenizer(settings).decode([0]) == "\n"
  fixed = datasets.read_settings({"name": "kjv", "tokenizer": "text8"})
  assert storage.open_tokenizer(fixed).vocab_size == 27
  missing = datasets.read_settings(section | {"seed": 5})
  with pytest.raises(ValueError, match="is not there; run `mdm data build text"):
    storage.open_tokenizer(missing)
