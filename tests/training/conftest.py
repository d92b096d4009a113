"""The uninterrupted training that resumed ones are compared with."""

import shutil

import pytest
from toys import masked, rig

from mdm.training.loop import train
from mdm.training.writers import read_rows


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
  """A folder of 20 uninterrupted steps, all checkpoints kept, never to be changed."""
  folder = tmp_path_factory.mktemp("whole") / "run"
  evaluators = {"toy": lambda variables: {"one": 1.0}}
  cfg = masked.get_config()
  cfg.train.keep = 4
  train(cfg.lock(), folder, feed=masked.make_feed(16), evaluators=evaluators)
  return folder


@pytest.fixture(scope="session")
def final(whole):
  """The last state of the uninterrupted training, by leaf."""
  return rig.saved(whole)


@pytest.fixture(scope="session")
def rows(whole):
  """What the uninterrupted training logged."""
  return read_rows(whole / "metrics.jsonl")


@pytest.fixture
def copied(whole, tmp_path):
  """A copy of the uninterrupted training's folder, free to be changed."""
  return shutil.copytree(whole, tmp_path / "run")
