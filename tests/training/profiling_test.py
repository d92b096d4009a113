"""A trace of steps 5 to 10: really written, named, relative to where a run resumes."""

import dataclasses
import gzip
import json

import jax
import pytest
from toys import masked, rig

from mdm.training import loop, profiling
from mdm.training.clock import Clock
from mdm.training.profiling import Profile
from mdm.training.stopping import StopRequest


@pytest.fixture
def profiler(monkeypatch):
  """What the profiler is asked to do, in order."""
  asked = []
  monkeypatch.setattr(
    profiling.jax.profiler, "start_trace", lambda folder, **_: asked.append("start")
  )
  monkeypatch.setattr(
    profiling.jax.profiler, "stop_trace", lambda: asked.append("stop")
  )
  return asked


def walk(profile, steps, asked):
  """Takes the steps; those that are annotated are noted."""
  for number in steps:
    context = profile.step(number, {})
    if isinstance(context, jax.profiler.StepTraceAnnotation):
      asked.append(number)
    profile.after(number, {})


def test_a_training_writes_a_trace_with_its_steps_named(tmp_path, capsys):
  cfg = masked.get_config()
  cfg.train.update(steps=12, checkpoint_every=0)
  run = dataclasses.replace(rig.prepare(tmp_path, cfg), is_profiled=True)
  with jax.set_mesh(run.mesh), StopRequest() as stop:
    loop.take_steps(run, run.make_state(), stop)
  run.checkpoints.close()
  (file,) = (tmp_path / "profile").rglob("*.trace.json.gz")
  events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
  steps = [e["args"]["step_num"] for e in events if e.get("name") == "train"]
  assert steps == ["5", "6", "7", "8", "9", "10"]
  assert list((tmp_path / "profile").rglob("*.xplane.pb"))
  said = capsys.readouterr().err
  assert f"steps 5 to 10 are traced in {tmp_path / 'profile'}" in said
  assert "xprof --port 8791" in said and "ui.perfetto.dev" in said


def test_steps_are_counted_from_where_a_training_resumes(profiler, tmp_path):
  told = []
  profile = Profile(tmp_path, range(101, 201), told.append, clock=Clock())
  walk(profile, range(101, 201), profiler)
  assert profiler == ["start", *range(105, 111), "stop"]
  assert told[0].startswith("steps 105 to 110 are traced in")


def test_a_training_that_ends_early_keeps_what_was_traced(profiler, tmp_path):
  told = []
  profile = Profile(tmp_path, range(1, 8), told.append, clock=Clock())
  walk(profile, range(1, 7), profiler)
  profile.close()
  profile.close()
  assert profiler == ["start", 5, 6, "stop"]
  assert told[0].startswith("steps 5 to 6 are traced in") and len(told) == 2


def test_too_few_steps_are_told_in_a_sentence(profiler, tmp_path):
  told = []
  profile = Profile(tmp_path, range(17, 21), told.append, clock=Clock())
  walk(profile, range(17, 21), profiler)
  profile.close()
  assert profiler == []
  assert told == [
    "--profile traces steps 5 to 10 of those that are taken, and 4 are left; nothing "
    "is traced. Set train.steps higher."
  ]


def test_nothing_is_traced_unless_asked_nor_by_other_processes(
  profiler, tmp_path, monkeypatch
):
  told = []
  steps = range(1, 21)
  profile = Profile(tmp_path, steps, told.append, clock=Clock(), is_wanted=False)
  walk(profile, steps, profiler)
  monkeypatch.setattr(profiling, "is_first", lambda: False)
  walk(Profile(tmp_path, steps, told.append, clock=Clock()), steps, profiler)
  assert profiler == told == []
