"""Sweeps over learning rates: what curves suggest, and that nothing is disturbed."""

import json
import math

import numpy as np
import pytest
from PIL import Image
from toys import masked

from mdm import api
from mdm.training.rate_finder import (
  MARGIN,
  is_lost,
  smooth,
  suggest_rate,
  sweep_rates,
)

RATES = np.geomspace(1e-6, 1.0, 121).tolist()


def _valley(rate, least=1e-2):
  """A loss that falls and rises over the logarithm of the rate."""
  return 1.0 + math.log10(rate / least) ** 2


def test_a_valley_suggests_a_tenth_of_its_floor():
  found = suggest_rate(RATES, [_valley(rate) for rate in RATES])
  # the running mean of 10 steps comes half a decade late at 20 steps a decade
  assert 1e-2 <= found.least <= 4e-2
  assert found.rate == found.least / MARGIN
  assert found.steepest < found.least and found.has_risen


def test_the_steepest_place_is_where_the_loss_drops():
  losses = [2.0 if rate < 1e-4 else 1.0 if rate < 1e-1 else 3.0 for rate in RATES]
  found = suggest_rate(RATES, losses)
  assert found.steepest == pytest.approx(1e-4, rel=0.2)
  assert found.steepest < found.least < 0.11


def test_noise_moves_the_suggestion_by_less_than_a_decade():
  rng = np.random.default_rng(0)
  clean = suggest_rate(RATES, [_valley(rate) for rate in RATES]).rate
  for _ in range(8):
    losses = [_valley(rate) + rng.normal(0, 0.3) for rate in RATES]
    assert abs(math.log10(suggest_rate(RATES, losses).rate / clean)) < 0.7


def test_a_loss_that_still_falls_at_the_end_is_told():
  found = suggest_rate(RATES, [1.0 / (1 + k) for k in range(len(RATES))])
  assert not found.has_risen and found.least == RATES[-1]


def test_what_follows_a_loss_that_is_no_number_does_not_count():
  losses = [_valley(rate) for rate in RATES[:100]] + [math.nan] + [-9.0] * 20
  found = suggest_rate(RATES, losses)
  assert len(found.smoothed) == 100 and found.least < RATES[100]


@pytest.mark.parametrize(
  ("losses", "answer"),
  [
    ([1.0, 2.0, 3.0, 4.0], "never falls"),
    ([1.0, math.inf, 1.0, 1.0], "1 finite losses suggest no"),
  ],
)
def test_a_sweep_that_teaches_nothing_is_refused(losses, answer):
  with pytest.raises(ValueError, match=answer):
    suggest_rate(RATES[:4], losses)


def test_smoothing_keeps_a_constant_and_weighs_the_last_most():
  assert smooth([3.0] * 5) == pytest.approx([3.0] * 5)
  assert smooth([0.0, 1.0]) == pytest.approx([0.0, 1 / 1.9])


def test_a_training_is_lost_far_above_its_start_only():
  assert is_lost([1.0, math.nan])
  assert not is_lost([2.0, 1.0, 2.5])
  assert is_lost([2.0] + [9.0] * 10)
  assert not is_lost([-2.0, -2.5, -2.2])


@pytest.fixture(scope="module")
def sweep():
  cfg = masked.get_config().lock()
  return sweep_rates(cfg, steps=24, feed=masked.make_feed(16))


def test_rates_rise_by_one_factor_around_that_of_the_config(sweep):
  factors = np.divide(sweep.rates[1:], sweep.rates[:-1])
  assert factors == pytest.approx(factors[0], rel=1e-3)
  assert sweep.rates[0] == pytest.approx(3e-3 * 1e-4, rel=1e-3)
  assert sweep.rates[-1] <= 3e-3 * 1e2 * 1.001


def test_the_first_loss_is_that_of_the_training_and_a_small_rate_moves_it_little(sweep):
  cfg = masked.get_config().lock()
  again = sweep_rates(cfg, steps=24, feed=masked.make_feed(16), highest=1.1e-4)
  assert again.losses[0] == sweep.losses[0]
  assert len(again.losses) == 24 and np.ptp(again.losses) < np.ptp(sweep.losses)


def test_a_range_without_room_is_refused():
  with pytest.raises(ValueError, match="has no room"):
    sweep_rates(masked.get_config().lock(), steps=1)
  with pytest.raises(ValueError, match="rising positive range"):
    sweep_rates(masked.get_config().lock(), lowest=1.0, highest=0.1)


def test_a_rate_is_found_and_drawn_and_nothing_else_is_written(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  cfg = masked.get_config().lock()
  found = api.find_rate(cfg, out="rates.png", steps=24, feed=masked.make_feed(16))
  assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]
  with Image.open("rates.png") as picture:
    assert picture.width > 400
  assert found["rates"][0] < found["rate"] < found["rates"][-1]
  assert json.loads(json.dumps(found))["has_risen"] == found["has_risen"]
