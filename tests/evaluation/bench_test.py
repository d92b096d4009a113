"""The loop beside the bare step: the same batches, in turn, ratios within pairs."""

import dataclasses

import jax
import pytest
from toys import rig

from mdm.evaluation import bench
from mdm.training.stopping import StopRequest


def test_both_halves_of_a_pair_take_the_same_batches_and_change_places(tmp_path):
  run, taken = rig.prepare(tmp_path), []

  def step(state, batch):
    taken.append(int(jax.device_get(batch["index"])[0]) // 16)
    return run.step(state, batch)

  watched = dataclasses.replace(run, step=step)
  with jax.set_mesh(run.mesh), StopRequest() as stop:
    state, pairs = bench.time_pairs(watched, run.make_state(), stop, steps=2, rounds=2)
  run.checkpoints.close()
  warm, met = [0, 1, 2], 5  # of each pair one batch, the last, stands for its shape
  assert taken == [*warm, met, 4, 5, 3, 4, 5, 8, 6, 7, 8, 7, 8]
  assert len(pairs) == 2 and min(min(pair) for pair in pairs) > 0
  assert int(state.step) == len(taken)


def test_ratios_are_taken_within_pairs():
  numbers = bench.summarise([(1.0, 1.1), (4.0, 4.8), (2.0, 2.0)], batch=6)
  assert numbers["loop/over_bare"] == pytest.approx(1.1)
  assert numbers["loop/over_bare_min"] == 1.0
  assert numbers["loop/over_bare_max"] == pytest.approx(1.2)
  assert numbers["loop/over_bare_of_medians"] == 1.0
  assert (numbers["bare/step_min_s"], numbers["bare/step_max_s"]) == (1.0, 4.0)
  assert numbers["loop/examples_per_s"] == 3.0
