"""Masks of spans: their shares, their ends, and what they do not depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.spans import RULES, hide_from, mask_spans, rank_frames

draw = jax.jit(
  mask_spans,
  static_argnums=2,
  static_argnames=("span", "rate", "rule", "ratio", "least"),
)
ROWS, N = 64, 60
LENGTHS = jnp.arange(ROWS) % (N + 1)  # every length there is, 0 included


def row_keys(rows=ROWS):
  return example_keys(jax.random.key(0), jnp.arange(rows))


@functools.cache
def drawn(rule, **settings):
  return np.asarray(draw(row_keys(), LENGTHS, N, rule=rule, **settings))


def runs(row):
  """First frame and length of every run of hidden frames."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
  return [(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("rule", RULES)
def test_spans_are_whole_but_where_their_row_ends(rule):
  for row, length in zip(drawn(rule), LENGTHS.tolist(), strict=True):
    assert not row[length:].any()
    assert row.any() == (length > 0)  # however short, it has a span
    for start, size in runs(row):
      assert size >= 10 or start + size == length


@pytest.mark.parametrize("rule", RULES)
def test_a_mask_is_the_same_in_a_wider_batch_and_beside_other_rows(rule):
  wide = np.asarray(draw(row_keys(), LENGTHS, 2 * N, rule=rule))
  assert (wide[:, :N] == drawn(rule)).all() and not wide[:, N:].any()
  order = np.array([40, 3, 17])
  some = draw(row_keys()[order], LENGTHS[order], N, rule=rule)
  assert (np.asarray(some) == drawn(rule)[order]).all()


def test_the_share_of_independent_starts_is_the_sum_over_frames():
  rows, rate = 4_000, 0.065
  for length in (10, 34):
    mask = draw(row_keys(rows), jnp.full(rows, length), 34, rate=rate, least=0)
    share = 1 - (1 - rate) ** np.minimum(np.arange(length) + 1, 10)
    found = np.asarray(mask[:, :length]).mean(0)
    # standard error sqrt(p (1 - p) / 4,000) < 0.008, over 44 frames
    np.testing.assert_allclose(found, share, atol=0.032)
    assert np.isclose(share.mean(), {10: 0.296, 34: 0.433}[length], atol=5e-4)


def test_rows_without_a_start_stay_whole_if_no_least_is_asked():
  rows = 4_000
  mask = draw(row_keys(rows), jnp.full(rows, 10), 34, rate=0.065, least=0)
  found = 1 - np.asarray(mask.any(1)).mean()
  assert found == pytest.approx((1 - 0.065) ** 10, abs=0.03)  # 0.51, 4 sigmas


def test_the_least_adds_spans_only_where_there_were_fewer():
  without, single = (drawn("bernoulli", least=least) for least in (0, 1))
  had = without.any(1)
  assert (without[had] == single[had]).all()
  added = single[~had & (np.asarray(LENGTHS) > 0)]
  assert len(added) > 3 and all(len(runs(row)) == 1 for row in added)


def test_counted_starts_are_the_share_rounded_up_or_down_at_random():
  rows = 3_000
  settings = {"rule": "count", "ratio": 0.0625, "least": 1}
  lengths = jnp.full(rows, 40)
  hidden = np.asarray(draw(row_keys(rows), lengths, 40, span=1, **settings)).sum(1)
  assert set(hidden.tolist()) == {2, 3}  # 2.5
  assert hidden.mean() == pytest.approx(2.5, abs=0.04)  # 4 sigmas
  mask = np.asarray(
    draw(row_keys(rows), lengths, 40, span=4, **settings | {"least": 3})
  )
  assert mask.sum(1).max() == 12 and mask.sum(1).min() >= 6  # of 3 different starts
  assert mask[:, 0].any() and mask[:, -1].any()


def test_a_share_is_reached_and_overshot_by_less_than_a_span():
  for ratio in (0.1, 0.49, 0.8):
    hidden = drawn("exact", ratio=ratio).sum(1)
    wanted = ratio * np.asarray(LENGTHS)
    assert (hidden >= wanted - 1e-4).all()
    assert (hidden < np.maximum(wanted, 1) + 10).all()


def test_all_or_nothing_of_a_row_can_be_hidden():
  everything = drawn("exact", ratio=1.0)
  assert (everything.sum(1) == np.asarray(LENGTHS)).all()
  assert not drawn("exact", ratio=0.0, least=0).any()
  assert (drawn("bernoulli", rate=1.0).sum(1) == np.asarray(LENGTHS)).all()


def test_spans_of_one_frame_hide_exactly_the_share_rounded_up():
  hidden = drawn("exact", ratio=0.5, span=1).sum(1)
  assert (hidden == np.maximum(-(-np.asarray(LENGTHS) // 2), 0)).all()


def test_ranks_are_of_real_frames_and_the_rest_comes_after():
  order = jnp.array([[3.0, -1.0, jnp.inf, 0.0, -9.0, jnp.nan]])
  assert rank_frames(order, jnp.array([4])).tolist() == [[2, 0, 3, 1, 6, 6]]


def test_each_start_hides_itself_and_the_frames_after_it():
  starts = jnp.zeros((1, 9), bool).at[0, jnp.array([1, 2, 7])].set(True)
  mask = hide_from(starts, jnp.array([8]), 3)
  assert mask[0].astype(int).tolist() == [0, 1, 1, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
  ("settings", "answer"),
  [
    ({"rule": "static"}, "rule = 'static' is unknown"),
    ({"span": 0}, "span = 0 hides nothing"),
    ({"ratio": 40.0}, "ratio = 40.0 lies outside"),
    ({"rate": -0.1}, "rate = -0.1 lies outside"),
    ({"least": -1}, "least = -1 is below 0"),
  ],
)
def test_numbers_out_of_range_are_refused(settings, answer):
  with pytest.raises(ValueError, match=answer):
    mask_spans(row_keys(1), jnp.array([4]), 4, **settings)


def test_a_mask_is_the_same_on_eight_devices():
  mesh = jax.make_mesh((jax.device_count(),), ("data",))
  rows = jax.NamedSharding(mesh, jax.P("data"))

  @functools.partial(jax.jit, in_shardings=rows, out_shardings=rows)
  def sharded(index):
    keys = example_keys(jax.random.key(0), index)
    return mask_spans(keys, index % (N + 1), N, rule="exact")

  found = sharded(jax.device_put(jnp.arange(ROWS), rows))
  assert (np.asarray(found) == drawn("exact")).all()
