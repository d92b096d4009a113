import json
import multiprocessing
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from mdm.data import building, datasets
from mdm.data.datasets import read_settings
from mdm.data.records import open_records


def options(tmp_path, **changes):
  small = {"num_train": 70, "num_test": 2, "num_words": 300}
  return read_settings({"data_dir": str(tmp_path), **small, **changes})


def train_file(folder):
  return next(pathlib.Path(folder).glob("*-train.array_record*"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  settings = options(tmp_path_factory.mktemp("whole"))
  return settings, building.prepare(settings, num_workers=1)


def test_the_result_does_not_depend_on_the_number_of_workers(built, tmp_path):
  other = building.prepare(options(tmp_path), num_workers=2)
  assert train_file(other).read_bytes() == train_file(built[1]).read_bytes()


def test_building_again_does_nothing(built):
  before = train_file(built[1]).stat().st_mtime_ns
  assert building.prepare(built[0]) == built[1]
  assert train_file(built[1]).stat().st_mtime_ns == before


def test_other_options_go_to_another_folder(built):
  for changes in ({"seed": 1}, {"strength": 0.2}, {"num_train": 71}):
    other = options(built[0].home(), **changes)
    assert (
      building.make_builder(other).data_path
      != building.make_builder(built[0]).data_path
    )


def test_building_reaches_for_no_network(tmp_path, monkeypatch):
  def refuse(*args, **kwargs):
    raise AssertionError("a network address was asked for")

  monkeypatch.setattr(socket, "create_connection", refuse)
  monkeypatch.setattr(socket, "getaddrinfo", refuse)
  building.prepare(options(tmp_path), num_workers=1)


def test_a_half_built_folder_is_discarded(tmp_path):
  settings = options(tmp_path)
  folder = pathlib.Path(building.make_builder(settings).data_path)
  folder.mkdir(parents=True)
  (folder / "rendered_words-train.array_record-00000-of-00001").write_bytes(b"half")
  aside = folder.parent / "1.0.0.incompleteABCDEF"
  aside.mkdir()
  with pytest.raises(ValueError, match="is not built; run `mdm data build"):
    building.open_builder(settings)
  building.prepare(settings, num_workers=1)
  assert not aside.exists()
  assert len(open_records(settings, "train")) == 70


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_that_counts_as_built(tmp_path, sign):
  settings = options(tmp_path, num_train=100_000)
  code = (  # a background job of a shell starts with ctrl-C ignored
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from mdm.data import building; from mdm.data.datasets import read_settings;"
    f"building.prepare(read_settings({{'data_dir': {str(tmp_path)!r}, "
    "'num_train': 100_000, 'num_test': 2, 'num_words': 300}), num_workers=2)"
  )
  process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
  folder = pathlib.Path(building.make_builder(settings).data_path)
  for _ in range(2_000):
    if list(folder.parent.glob("*incomplete*")):
      break
    time.sleep(0.01)
  time.sleep(0.3)
  os.kill(process.pid, sign)
  assert process.wait(20) != 0
  assert not (folder / "dataset_info.json").exists()
  building._discard(folder)
  assert not list(folder.parent.glob("*incomplete*"))


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "manifest"])
def test_a_damaged_file_is_named_with_the_remedy_and_force_repairs(tmp_path, damage):
  settings = options(tmp_path)
  path = train_file(building.prepare(settings, num_workers=1))
  content = bytearray(path.read_bytes())
  if damage == "truncate":
    path.write_bytes(content[: len(content) // 2])
  elif damage == "flip":
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
  elif damage == "delete":
    path.unlink()
  else:
    path = path.parent / building.MANIFEST
    path.write_text("{")
  with pytest.raises(
    ValueError, match="mdm data build rendered_words --force"
  ) as error:
    open_records(settings, "train")
  assert path.name in str(error.value)
  building.prepare(settings, force=True, num_workers=1)
  assert len(open_records(settings, "train")) == 70


def test_damage_after_opening_is_an_error_too(tmp_path):
  settings = options(tmp_path)
  folder = building.prepare(settings, num_workers=1)
  records = open_records(settings, "train")
  path = train_file(folder)
  content = bytearray(path.read_bytes())
  content[1000:-1000] = bytes(len(content) - 2000)
  path.write_bytes(content)
  with pytest.raises(ValueError, match="cannot be read"):
    records.read(range(70))


def test_two_builders_at_once_leave_one_whole_data_set(tmp_path):
  context = multiprocessing.get_context("spawn")
  small = {"data_dir": str(tmp_path), "num_train": 70, "num_test": 2, "num_words": 300}
  processes = [
    context.Process(
      target=datasets.prepare,
      args=("rendered_words",),
      kwargs=small | {"num_workers": 1},
    )
    for _ in range(2)
  ]
  for process in processes:
    process.start()
  for process in processes:
    process.join(60)
  assert [process.exitcode for process in processes] == [0, 0]
  assert len(open_records(read_settings(small), "test")) == 2


def test_the_manifest_lists_every_file(built):
  names = {p.name for p in built[1].iterdir()} - {building.MANIFEST}
  assert set(json.loads((built[1] / building.MANIFEST).read_text())) == names
