"""How long a stopped training takes to go on: no second is counted twice."""

import sys

import pytest

from mdm.evaluation import resume_bench


def stretch(**seconds):
  zeros = dict.fromkeys((*resume_bench.BUCKETS, "wall", "first_row"), 0.0)
  return {**zeros, **seconds}


def test_compilation_and_steps_are_no_part_of_what_going_on_costs():
  numbers = resume_bench.summarise(
    [
      stretch(wall=20.0, compile=9.0, step=2.0, first_row=18.0),
      stretch(wall=10.0, compile=3.0, step=1.0, first_row=8.0, start=4.0),
      stretch(wall=11.0, compile=3.0, step=1.0, first_row=9.0, start=5.0),
      stretch(wall=19.0, compile=3.0, step=1.0, first_row=17.0, start=6.0),
    ]
  )
  assert (numbers["fresh/cold_s"], numbers["fresh/first_row_s"]) == (9.0, 18.0)
  assert (numbers["resume/cold_s"], numbers["resume/cold_max_s"]) == (7.0, 15.0)
  assert (numbers["resume/start_s"], numbers["resume/first_row_s"]) == (5.0, 9.0)


def test_a_training_that_fails_is_told_in_its_own_words(tmp_path):
  command = [sys.executable, "-c", "print('error: no such thing'); raise SystemExit(2)"]
  with pytest.raises(ValueError, match=r"status 2\): error: no such thing"):
    resume_bench.take_stretch(command, tmp_path, 60.0)


def test_a_training_that_logs_nothing_is_ended_when_patience_is(tmp_path):
  command = [sys.executable, "-c", "import time; time.sleep(60)"]
  with pytest.raises(ValueError, match=r"no step in 0\.3 s"):
    resume_bench.take_stretch(command, tmp_path, 0.3)


def test_no_rounds_are_refused():
  with pytest.raises(ValueError, match="--rounds 0 is too few"):
    resume_bench.bench_resume("configs/diffusion/md4_chars.py", rounds=0)


@pytest.mark.slow
def test_a_training_goes_on_from_where_it_was_stopped():
  path = "configs/diffusion/md4_chars.py"
  report = resume_bench.bench_resume(path, ["train.batch=8"], rounds=1)
  first, later = report["stretches"]
  numbers = report["numbers"]
  assert first["compile"] > 0 and later["step"] > 0
  assert 0 < numbers["resume/cold_s"] < later["wall"]
  assert numbers["resume/start_s"] + numbers["resume/checkpoint_s"] <= later["wall"]
