import pytest

from mdm import api
from mdm.evaluation.sampling_bench import bench_samplers, make_passes, name_samplers


def test_samplers_with_passes_of_their_own_are_measured_once():
  chosen = name_samplers(["ancestral", "first_hitting"], [4, 8])
  assert list(chosen) == ["ancestral 4", "ancestral 8", "first_hitting 4"]
  assert chosen["ancestral 8"].num_steps == 8


def test_a_row_tells_passes_speed_and_ratio(tiny_text):
  model = api.load(tiny_text.run)
  (row,) = bench_samplers(
    model.method, model.variables, name_samplers(["low_confidence"], [4], top_p=0.9),
    length=8, batch=2, rounds=3,
  )  # fmt: skip
  assert row["calls"] == row["num_steps"] == 4 and row["ratio"] > 0
  assert row["tokens_per_s"] == pytest.approx(16 / row["sampler_s"])


def test_a_bare_pass_of_a_method_with_a_cache_reads_one_token(tiny_text):
  model = api.load(tiny_text.twin)
  logits, cache = make_passes(model.method, model.variables, length=6, batch=2)(5)
  assert logits.shape == (2, 1, 27)
  assert cache.valid.tolist() == [[True] * 5 + [False]] * 2


def test_a_config_gets_fresh_weights(tiny_text):
  report = api.bench_sampler(
    tiny_text.config, samplers=["ancestral"], steps=[2], batch=2, rounds=2
  )
  assert report["length"] == 24 and [row["calls"] for row in report["rows"]] == [2]


def test_bad_requests_are_refused(tiny_text):
  with pytest.raises(ValueError, match="did you mean 'ancestral'"):
    api.bench_sampler(tiny_text.config, samplers=["ancestor"])
  with pytest.raises(ValueError, match="rounds = 0"):
    api.bench_sampler(tiny_text.config, rounds=0)
