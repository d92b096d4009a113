"""What a training promises whatever happens to it: resume, stop, failure."""

import dataclasses
import itertools
import json
import resource
import shutil
import time

import jax
import numpy as np
import pytest
from toys import masked, rig

from mdm.training import loop
from mdm.training.checkpoint import CheckpointError
from mdm.training.feed import DataError
from mdm.training.loop import NonFiniteError, train
from mdm.training.plan import Plan
from mdm.training.stopping import StopRequest
from mdm.training.writers import read_rows


def continue_run(run, change=lambda state, fresh: state):
  """Takes a prepared run to its end, its first state changed."""
  with jax.set_mesh(run.mesh), StopRequest() as stop:
    state = change(loop.start_state(run), run.make_state())
    state, _ = loop.take_steps(run, state, stop)
  run.checkpoints.close()
  return state


def until(whole, folder, step):
  """A copy of the folder as it was when `step` was the newest checkpoint."""
  shutil.copytree(whole, folder)
  for path in (folder / "checkpoints").iterdir():
    if int(path.name) > step:
      shutil.rmtree(path)
  return folder


@pytest.fixture(scope="module")
def resumed(whole, tmp_path_factory):
  folder = until(whole, tmp_path_factory.mktemp("resumed") / "run", 10)
  run = rig.prepare(folder)
  run = dataclasses.replace(run, evaluators={"toy": lambda _: {"one": 1.0}})
  return run, continue_run(run)


def test_a_resumed_training_ends_in_the_same_state_bit_for_bit(resumed, final):
  assert rig.differing(final, rig.saved(resumed[0].workdir)) == []
  assert rig.differing(final, rig.leaves(resumed[1])) == []


def test_a_resumed_training_logs_the_same_numbers_once_each(resumed, rows):
  assert read_rows(resumed[0].workdir / "metrics.jsonl") == rows
  assert [row["step"] for row in rows] == list(range(1, 21))


def test_train_and_resume_compile_the_step_once_each(resumed, tmp_path):
  assert resumed[0].step.jitted._cache_size() == 1
  run = rig.prepare(tmp_path / "fresh")
  continue_run(run)
  assert run.step.jitted._cache_size() == 1


def test_losing_the_optimizer_state_at_resume_would_show(whole, final, tmp_path):
  run = rig.prepare(until(whole, tmp_path / "run", 10))
  continue_run(run, lambda state, new: state.replace(opt_state=new.opt_state))
  found = rig.differing(final, rig.saved(run.workdir))
  assert {name.split("/")[0] for name in found} == {"params", "opt_state", "ema"}


def test_a_finished_training_starts_again_without_a_step(copied, rows):
  outcome = train(masked.get_config().lock(), copied, feed=masked.make_feed(16))
  assert (int(outcome.state.step), outcome.metrics) == (20, {})
  assert read_rows(copied / "metrics.jsonl") == rows


def test_more_steps_may_be_asked_of_a_finished_training(copied):
  cfg = masked.get_config()
  cfg.train.steps = 22
  outcome = train(cfg.lock(), copied, feed=masked.make_feed(16))
  assert int(outcome.state.step) == 22


def test_a_nan_stops_with_step_metric_and_the_last_good_checkpoint(tmp_path):
  cfg = masked.get_config()
  cfg.train.checkpoint_every = 3
  with pytest.raises(
    NonFiniteError, match=r"loss = nan at step 7; .*step 6 is"
  ) as info:
    train(cfg.lock(), tmp_path, feed=masked.make_feed(16, poison=6))
  assert (info.value.step, info.value.metric, info.value.saved) == (7, "loss", 6)
  run = rig.prepare(tmp_path, cfg)
  assert run.checkpoints.steps() == [3, 6]
  kept = rig.leaves(run.checkpoints.restore(run.abstract_state))
  assert all(np.isfinite(leaf).all() for leaf in kept.values())
  assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [
    *range(1, 7)
  ]


def test_data_that_cannot_be_read_ends_a_training_after_saving_it(tmp_path, final):
  cfg, folder = masked.get_config(), tmp_path / "run"
  cfg.train.checkpoint_every = 0
  sentence = r"clip 7 is silent; leave it out\. Step 7 is saved; .*same command goes on"
  with pytest.raises(DataError, match=sentence):
    train(cfg.lock(), folder, feed=masked.make_feed(16, broken=7))
  assert [row["step"] for row in read_rows(folder / "metrics.jsonl")] == [*range(1, 8)]
  run = rig.prepare(folder)
  assert run.checkpoints.steps() == [7]
  assert rig.differing(final, rig.leaves(continue_run(run))) == []


def test_what_is_left_out_of_the_data_is_told_at_the_end(copied):
  feed = masked.make_feed(16)
  feed = dataclasses.replace(feed, left_out=lambda: {"corrupt": 2})
  outcome = train(masked.get_config().lock(), copied, feed=feed)
  assert outcome.left_out == {"corrupt": 2}


def test_a_nan_due_for_saving_is_not_saved(tmp_path):
  cfg = masked.get_config()
  cfg.train.update(checkpoint_every=1, log_every=0)
  with pytest.raises(NonFiniteError, match="no checkpoint yet"):
    train(cfg.lock(), tmp_path, feed=masked.make_feed(16, poison=0))
  assert rig.prepare(tmp_path, cfg).checkpoints.steps() == []


def test_a_nan_can_be_skipped_and_is_counted(tmp_path):
  cfg = masked.get_config()
  cfg.train.update(steps=8, on_nan="skip", checkpoint_every=1, keep=3)
  outcome = train(cfg.lock(), tmp_path, feed=masked.make_feed(16, poison=6))
  run = rig.prepare(tmp_path, cfg)
  six, seven, eight = (
    rig.leaves(run.checkpoints.restore(run.abstract_state, step)) for step in (6, 7, 8)
  )
  run.checkpoints.close()
  assert sorted(rig.differing(six, seven)) == ["skipped", "step"]
  assert int(seven["skipped"]) == int(eight["skipped"]) == 1
  assert any(name.startswith("params") for name in rig.differing(seven, eight))
  assert outcome.metrics["skipped"] == 1
  rates = [row["rate/learning"] for row in read_rows(tmp_path / "metrics.jsonl")]
  assert rates[7] == rates[6] != rates[5]  # the schedule waits with the optimiser


def test_a_full_disk_ends_with_one_sentence_and_loses_nothing(final, tmp_path):
  """The largest file of a checkpoint has 40 kB; at step 10 no file may exceed 24."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  feed = masked.make_feed(16)

  def batches(start):
    for number, batch in enumerate(feed.batches(start), start):
      if number == 7:
        while any((tmp_path / "checkpoints").glob("*tmp*")):  # step 5 is being saved
          time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, hard))
      yield batch

  cfg = masked.get_config().lock()
  try:
    with pytest.raises(CheckpointError) as info:
      train(cfg, tmp_path, feed=dataclasses.replace(feed, batches=batches))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert str(tmp_path) in str(info.value)
  assert "File too large" in str(info.value)
  assert "the last good one is step 5. Free some space" in str(info.value)
  assert "\n" not in str(info.value)
  assert rig.prepare(tmp_path, cfg).checkpoints.steps() == [5]
  train(cfg, tmp_path, feed=feed)
  assert rig.differing(final, rig.saved(tmp_path)) == []


def test_a_folder_of_another_config_is_refused(copied):
  cfg = masked.get_config()
  cfg.optimizer.learning_rate = 0.5
  with pytest.raises(
    ValueError, match=r"optimizer\.learning_rate: 0\.003 there, 0\.5 here"
  ):
    train(cfg.lock(), copied, feed=masked.make_feed(16))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match=r"cannot be written .*name another folder"):
    rig.prepare(tmp_path / "file" / "run")


def test_a_torn_config_in_the_folder_is_refused(tmp_path):
  (tmp_path / "config.json").write_text('{"train":')
  with pytest.raises(ValueError, match=r"is not valid JSON .*restore or delete it"):
    rig.prepare(tmp_path)


def test_a_loss_that_contradicts_its_batch_size_is_found_before_compiling(tmp_path):
  cfg = masked.get_config()
  cfg.train.batch = 12
  with pytest.raises(
    ValueError, match="does not divide over 8 devices; use a multiple of 8"
  ):
    rig.prepare(tmp_path, cfg.lock())


def test_metrics_are_read_and_batches_drawn_while_the_next_step_runs(
  tmp_path, monkeypatch
):
  cfg, events = masked.get_config(), []
  cfg.train.update(steps=4, log_every=0, eval_every=0, checkpoint_every=0)
  run = rig.prepare(tmp_path, cfg)
  read = loop.check_finite

  def batches(start):
    for number, batch in enumerate(masked.make_feed(16).batches(start), start + 1):
      events.append(("draw", number))
      yield batch

  def step(state, batch):
    events.append(("step", 1 + sum(what == "step" for what, _ in events)))
    return run.step(state, batch)

  def check(run, step, metrics):
    events.append(("read", step))
    return read(run, step, metrics)

  monkeypatch.setattr(loop, "check_finite", check)
  feed = dataclasses.replace(run.feed, batches=batches)
  continue_run(dataclasses.replace(run, step=step, feed=feed))
  assert events == [
    ("draw", 1), ("step", 1), ("draw", 2),
    ("step", 2), ("draw", 3), ("read", 1),
    ("step", 3), ("draw", 4), ("read", 2),
    ("step", 4), ("read", 3), ("read", 4),
  ]  # fmt: skip


def test_stretches_of_a_training_are_summed(copied):
  cfg = masked.get_config()
  for count in (1, 2):
    cfg.train.steps = 20 + count
    outcome = train(cfg.copy_and_resolve_references().lock(), copied,
                    feed=masked.make_feed(16))  # fmt: skip
  stored = json.loads((copied / "goodput.json").read_text())
  assert stored == outcome.times and stored["whole/stretches"] == 3
  assert stored["whole/wall_s"] > stored["time/wall_s"] > 0


def test_goodput_is_the_wall_time_to_the_last_bucket(tmp_path):
  feed = masked.make_feed(16)

  def slow(start):
    for batch in feed.batches(start):
      time.sleep(0.05)
      yield batch

  began = time.perf_counter()
  outcome = train(
    masked.get_config().lock(), tmp_path, feed=dataclasses.replace(feed, batches=slow),
    evaluators={"toy": lambda _: time.sleep(0.1) or {"one": 1.0}},
  )  # fmt: skip
  wall = time.perf_counter() - began
  buckets = {
    k: v for k, v in outcome.times.items() if k[:5] == "time/" and k.endswith("_s")
  }
  told = buckets.pop("time/wall_s")
  assert told == pytest.approx(wall, rel=0.02, abs=0.3)  # a busy machine may pause
  assert sum(buckets.values()) == pytest.approx(told, rel=1e-3)
  assert min(buckets.values()) >= 0
  assert buckets["time/data_s"] >= 10 * 0.05  # not what passed while a step ran
  assert buckets["time/eval_s"] >= 4 * 0.1
  assert 0 < outcome.times["time/goodput"] < 1


def test_the_step_runs_under_a_transfer_guard(copied):
  run = rig.prepare(until(copied, copied.with_name("ten"), 10))

  def step(state, batch):
    return state, {"loss": batch["weight"] + np.ones(16, np.float32)}

  with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device"):
    continue_run(dataclasses.replace(run, step=step))


def test_evaluators_get_the_averaged_parameters(tmp_path):
  seen = []
  cfg = masked.get_config()
  cfg.train.update(steps=2, checkpoint_every=0)
  evaluators = {"toy": lambda variables: seen.append(variables["params"]) or {}}
  outcome = train(
    cfg.lock(), tmp_path, feed=masked.make_feed(16), evaluators=evaluators
  )
  assert rig.differing(rig.leaves(seen[-1]), rig.leaves(outcome.state.ema)) == []


def test_what_is_due_follows_the_plan():
  plan = Plan(steps=7, log_every=3, eval_every=0, checkpoint_every=2)
  due = [
    [s for s in range(1, 8) if plan.is_due(w, s)] for w in ("log", "eval", "checkpoint")
  ]
  assert due == [[3, 6, 7], [7], [2, 4, 6, 7]]


def test_batches_are_drawn_from_the_resumed_step_on(whole, tmp_path):
  run = rig.prepare(until(whole, tmp_path / "run", 15))
  starts = []

  def batches(start):
    starts.append(start)
    return itertools.islice(masked.make_feed(16).batches(start), 5)

  feed = dataclasses.replace(run.feed, batches=batches)
  continue_run(dataclasses.replace(run, feed=feed))
  assert starts == [15]
