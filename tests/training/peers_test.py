"""Real processes that train as one, undisturbed, stopped, killed, and never joined."""

import json
import random
import shutil
import signal
import time

import numpy as np
import pytest
from toys import masked, peers, rig
from toys.peers import Peers

from mdm.training.loop import train
from mdm.training.writers import read_rows

LIMIT_S = 4 * peers.HEARTBEAT_S  # with room for a busy machine


def checkpoints(folder):
  return sorted(int(p.name) for p in (folder / "checkpoints").glob("[0-9]*"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
  """An undisturbed training of two processes of two devices, and what they say.

  Its folder is never to be changed.
  """
  folder = tmp_path_factory.mktemp("pair") / "run"
  with Peers(2, folder, "--weigh") as both:
    return folder, both.records(), [both.said(number) for number in (0, 1)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """The same training in one process of four devices."""
  folder = tmp_path_factory.mktemp("alone") / "run"
  with Peers(1, folder, "--weigh", devices=4) as one:
    return folder, one.records()[0]


def test_two_processes_train_as_one_does_and_see_the_same_losses(pair, alone):
  first, second = pair[1]
  assert first["losses"] == second["losses"] and len(first["losses"]) == 20
  np.testing.assert_allclose(first["losses"], alone[1]["losses"], rtol=1e-6)
  ours, theirs = peers.saved(pair[0]), peers.saved(alone[0])
  for name, leaf in theirs.items():  # sums in another order, through twenty steps
    np.testing.assert_allclose(ours[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_first_alone_writes_and_shows_and_all_evaluate_whole_parameters(
  pair, alone
):
  rows, theirs = (read_rows(f / "metrics.jsonl") for f in (pair[0], alone[0]))
  assert [row["step"] for row in rows] == list(range(1, 21))
  assert rows[4]["toy/size"] == pytest.approx(theirs[4]["toy/size"], rel=1e-5)
  assert "20/20" in pair[2][0] and pair[2][1] == ""
  assert (pair[0] / "goodput.json").exists()
  assert not list(pair[0].glob(".shared*")) and not list(pair[0].rglob("*tmp*"))


def test_both_save_their_shards_which_one_process_reads(pair):
  newest = pair[0] / "checkpoints" / "20"
  assert sorted(p.name for p in newest.glob("state/ocdbt.*")) == [
    "ocdbt.process_0", "ocdbt.process_1",
  ]  # fmt: skip
  assert peers.saved(pair[0])["step"] == 20


def test_sigterm_to_one_saves_one_step_of_both_and_the_same_command_goes_on(
  pair, tmp_path
):
  with Peers(2, tmp_path / "run", "--slow=0.25", "--weigh") as both:
    both.wait_for(tmp_path / "run", 4)
    both.signal(1)
    first, second = both.records()
  assert first["stopped"] == second["stopped"] == signal.SIGTERM
  assert first["step"] == second["step"] == checkpoints(tmp_path / "run")[-1] < 20
  with Peers(2, tmp_path / "run", "--weigh") as both:
    both.records()
  assert rig.differing(peers.saved(pair[0]), peers.saved(tmp_path / "run")) == []
  both_rows = [read_rows(f / "metrics.jsonl") for f in (pair[0], tmp_path / "run")]
  assert both_rows[0] == both_rows[1]


def test_a_host_that_never_joins_is_told_of_in_one_sentence(tmp_path):
  with Peers(3, tmp_path / "run", missing=(0, 1), MDM_JOIN_S="2") as one:
    assert one.finish(LIMIT_S) == [1]
    text = one.said(2)
  assert text.count("\n") == 1 and "Traceback" not in text
  assert "process 2 on " in text and "waited 2 s at localhost:" in text
  assert "for all 3 processes to join" in text and "raise MDM_JOIN_S" in text


@pytest.mark.slow
def test_a_folder_that_is_not_shared_is_found_before_training(tmp_path):
  folders = [tmp_path / "here", tmp_path / "there"]
  with Peers(2, folders) as both:
    assert both.finish(LIMIT_S + 30) == [1, 1]
    texts = [both.said(number) for number in (0, 1)]
  for text in texts:
    assert f"--workdir {folders[1]} on " in text and "name one that all hosts" in text
    assert text.count("\n") == 1
  assert not (folders[0] / "metrics.jsonl").exists()


@pytest.mark.slow
def test_another_config_in_one_process_ends_both(pair, tmp_path):
  only = {1: ("--set", "train.ema=0.5")}
  with Peers(2, tmp_path / "run", only=only) as both:
    assert both.finish(LIMIT_S + 30) == [1, 1]
    texts = [both.said(number) for number in (0, 1)]
  assert all("belongs to another config (train.ema" in text for text in texts)
  assert texts[0].startswith("PeerError: process 1 of 2 ended:")


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_data_that_one_cannot_read_end_both_in_a_sentence(tmp_path, number):
  with Peers(2, tmp_path / "run", only={number: ("--broken=7",)}) as both:
    statuses = both.finish()
    failed, other = both.said(number), both.said(1 - number)
  assert statuses[number] == 1 and statuses[1 - number] != 0
  assert "DataError: clip 7 is silent; leave it out." in failed
  assert "another of the 2 processes is gone" in other
  assert "Traceback" not in failed + other
  assert checkpoints(tmp_path / "run")[-1] == 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kill_one_at_a_random_moment_ends_all_and_changes_nothing(pair, tmp_path, seed):
  moments, folder = random.Random(seed), tmp_path / "run"
  with Peers(2, folder, "--slow=0.1", "--weigh") as both:
    both.wait_for(folder, moments.randint(1, 15))
    time.sleep(moments.uniform(0, 0.3))
    killed = moments.randint(0, 1)
    both.signal(killed, signal.SIGKILL)
    began = time.monotonic()
    statuses = both.finish(LIMIT_S)
    assert time.monotonic() - began < LIMIT_S
  assert statuses[killed] == -signal.SIGKILL and statuses[1 - killed] != 0
  with Peers(2, folder, "--weigh") as both:
    both.records()
  assert rig.differing(peers.saved(pair[0]), peers.saved(folder)) == []
  assert read_rows(folder / "metrics.jsonl") == read_rows(pair[0] / "metrics.jsonl")
  assert not list(folder.rglob("*tmp*"))


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices"), [(1, 4), (4, 1), (4, 2)])
def test_another_number_of_processes_goes_on_from_the_same_state(
  pair, tmp_path, count, devices
):
  folder = shutil.copytree(pair[0], tmp_path / "run")
  for step in (15, 20):
    shutil.rmtree(folder / "checkpoints" / str(step))
  with Peers(count, folder, "--weigh", devices=devices) as others:
    records = others.records()
  assert all(record["losses"] == records[0]["losses"] for record in records)
  np.testing.assert_allclose(records[0]["losses"], pair[1][0]["losses"][10:], rtol=1e-5)
  np.testing.assert_allclose(
    records[0]["losses"][:1], pair[1][0]["losses"][10:11], rtol=1e-6
  )
  with Peers(2, folder, "--weigh") as both:  # and back: there is nothing left to do
    assert both.records()[0]["step"] == 20


@pytest.mark.slow
def test_four_processes_train_as_one_does(alone, tmp_path):
  with Peers(4, tmp_path / "run", "--weigh", devices=1) as four:
    records = four.records()
  assert all(record["losses"] == records[0]["losses"] for record in records)
  np.testing.assert_allclose(records[0]["losses"], alone[1]["losses"], rtol=1e-6)
  newest = tmp_path / "run" / "checkpoints" / "20" / "state"
  assert len(list(newest.glob("ocdbt.process_*"))) == 4


@pytest.mark.slow
def test_a_run_of_one_process_begins_one_of_two(tmp_path):
  cfg = masked.get_config()
  cfg.train.steps = 2
  train(cfg.lock(), tmp_path / "first", feed=masked.make_feed(16))
  init = ("--set", f"init={{'run': '{tmp_path / 'first'}'}}", "--set", "train.steps=1")
  with Peers(2, tmp_path / "run", *init) as both:
    records = both.records()
  note = json.loads((tmp_path / "run" / "init.json").read_text())
  assert note["step"] == 2 and note["parameters"] > 0
  with Peers(1, tmp_path / "one", *init, devices=4) as one:
    assert one.records()[0]["losses"] == pytest.approx(records[0]["losses"], rel=1e-6)


@pytest.mark.slow
def test_a_damaged_checkpoint_ends_both_or_is_set_aside_by_the_first(pair, tmp_path):
  folder = shutil.copytree(pair[0], tmp_path / "run")
  files = (p for p in (folder / "checkpoints/20/state").rglob("d/*") if p.is_file())
  largest = max(files, key=lambda path: path.stat().st_size)
  content = bytearray(largest.read_bytes())
  content[len(content) // 2] ^= 255
  largest.write_bytes(content)
  with Peers(2, folder, "--weigh", "--set", "train.on_corrupt=raise") as both:
    assert both.finish() == [1, 1]
    assert all("is damaged" in both.said(number) for number in (0, 1))
  with Peers(2, folder, "--weigh", "--warns") as both:
    both.records()
    assert "Moved to" in both.said(0) and both.said(1) == ""
  assert checkpoints(folder)[-1] == 20 and (folder / "damaged" / "20").exists()
  assert rig.differing(peers.saved(pair[0]), peers.saved(folder)) == []
