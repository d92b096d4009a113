"""Rates of the device: the best of what was tried, whenever it was tried."""

import jax
import pytest

from mdm.evaluation import rates as gauging
from mdm.evaluation.rates import (
  KNOWN,
  Gauge,
  Rates,
  jax_probe,
  numpy_probe,
  open_gauge,
)


def test_a_gauge_keeps_the_best_of_each_rate_over_probes_and_rounds():
  turns = iter([{"flops_per_s": 3.0, "exps_per_s": 1.0}, {"flops_per_s": 2.0}])
  gauge = Gauge(
    Rates(0.0, 5.0, 0.0, "here"), [lambda: next(turns), lambda: {"exps_per_s": 0.5}]
  )
  gauge.measure()
  gauge.measure()
  assert gauge.rates == Rates(3.0, 5.0, 1.0, "here")


def test_what_is_known_of_a_device_is_not_measured(monkeypatch):
  kind = jax.devices()[0].device_kind
  known = Rates(1.0, 2.0, 3.0, "known")
  monkeypatch.setitem(KNOWN, (kind, "bfloat16"), known)
  gauge = open_gauge("bfloat16", [lambda: {"flops_per_s": 9.0}])
  gauge.measure()
  assert gauge.rates == known


@pytest.mark.parametrize(("dtype", "count"), [("float32", 3), ("bfloat16", 2)])
def test_numpy_and_other_probes_are_tried_beside_jax_s(monkeypatch, dtype, count):
  monkeypatch.setattr(gauging, "jax_probe", lambda *_: dict)
  assert len(open_gauge(dtype, [dict]).probes) == count


def test_rates_count_the_work_over_the_least_time(monkeypatch):
  monkeypatch.setattr(gauging, "_best_s", lambda *_, **__: 0.5)
  rates = jax_probe("bfloat16", [(4, 8, 2), (2, 2, 2)], 640)()
  assert rates == {
    "flops_per_s": 2 * 4 * 8 * 2 / 0.5,
    "bytes_per_s": 8 * 640 / 0.5,
    "exps_per_s": gauging.EXPONENTIALS * 10 / 0.5,
  }
  assert numpy_probe([(2, 2, 2), (4, 8, 2)])() == {"flops_per_s": 256.0}


def test_the_least_time_counts_but_not_the_first_and_arrays_are_handed_on(monkeypatch):
  clock = iter(
    [0.0, 1, 1, 9, 9, 14.0, 14, 22, 22, 30, 30, 38]
  )  # 1 s, then 8, 5, 8, 8, 8
  monkeypatch.setattr(gauging.time, "perf_counter", lambda: next(clock))
  given = []

  def double(x):
    given.append(x)
    return 2 * x

  assert gauging._best_s(double, 1, is_handed_on=True) == 5
  assert given == [1, 2, 4, 8, 16, 32]


def test_rates_of_this_device_are_measured():
  for probe in (jax_probe("bfloat16", [(16, 16, 16)], 1_024), numpy_probe([(9, 8, 7)])):
    assert min(probe().values()) > 0
