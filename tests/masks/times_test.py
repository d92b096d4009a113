"""Times and counts: strata of the whole step, however it is cut."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mdm.masks.times import TIME_SAMPLING, batch_places, sample_counts, sample_times

KEY = jax.random.key(0)


@functools.cache
def compiled(kind):
  return jax.jit(lambda key, place, total: sample_times(key, place, total, kind))


def times(total, kind="systematic", key=KEY, place=None):
  place = jnp.arange(total) if place is None else place
  return compiled(kind)(key, place, jnp.int32(total))


@functools.cache
def padded(kind):
  """Times of steps of every size, as one program over 512 places."""
  one = jax.vmap(compiled(kind), in_axes=(0, None, 0))
  keys = jax.random.split(KEY, 512)
  return np.asarray(one(keys, jnp.arange(512), jnp.arange(1, 513)))


@pytest.mark.parametrize("kind", ["systematic", "stratified"])
def test_every_stratum_holds_exactly_one_row_for_every_batch_up_to_512(kind):
  for total in range(1, 513):
    t = padded(kind)[total - 1, :total]
    strata = np.floor(np.float32(total) * t).astype(int)
    assert sorted(strata) == list(range(total))  # B entries, never B + 1


def test_systematic_times_are_exactly_one_batchth_apart():
  for total in (1, 7, 49, 98, 103, 107, 196, 512):
    t = np.sort(padded("systematic")[total - 1, :total])
    np.testing.assert_allclose(np.diff(t), 1 / total, atol=2e-7)


@pytest.mark.parametrize("kind", TIME_SAMPLING)
def test_times_lie_inside_the_open_interval(kind):
  t = padded(kind)
  assert t.min() > 0 and t.max() < 1


@pytest.mark.parametrize("kind", TIME_SAMPLING)
def test_each_place_alone_is_uniform_over_the_interval(kind):
  keys = jax.random.split(jax.random.key(1), 4000)
  t = jax.vmap(compiled(kind), in_axes=(0, None, None))(
    keys, jnp.arange(4), jnp.int32(4)
  )
  for place in range(4):
    hits = np.histogram(t[:, place], 10, (0, 1))[0]
    # Chi-square with 9 degrees of freedom exceeds 27.9 with probability 1e-3.
    assert ((hits - 400) ** 2 / 400).sum() < 27.9


@pytest.mark.parametrize("kind", TIME_SAMPLING)
def test_times_do_not_depend_on_micro_batches_or_order(kind):
  whole = times(16, kind)
  for pieces in (2, 4):
    for i in range(pieces):  # row r goes to micro-batch r % pieces
      place = jnp.arange(i, 16, pieces)
      np.testing.assert_array_equal(times(16, kind, place=place), whole[place])
  np.testing.assert_array_equal(
    times(16, kind, place=jnp.arange(16)[::-1]), whole[::-1]
  )


@pytest.mark.parametrize("kind", TIME_SAMPLING)
def test_times_do_not_depend_on_the_devices(kind):
  whole = times(16, kind)
  for devices in (2, 8):
    mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices],
                         axis_types=(jax.sharding.AxisType.Auto,))  # fmt: skip
    place = jax.device_put(jnp.arange(16), NamedSharding(mesh, PartitionSpec("data")))
    np.testing.assert_array_equal(times(16, kind, place=place), whole)


def test_systematic_shares_its_offset_and_the_others_do_not():
  offsets = {kind: np.ptp(times(8, kind) * 8 % 1) for kind in TIME_SAMPLING}
  assert offsets["systematic"] < 1e-5
  assert min(offsets["stratified"], offsets["independent"]) > 0.1


@pytest.mark.parametrize("kind", ["systematic", "stratified"])
def test_spread_times_estimate_a_mean_with_less_variance(kind):
  def deviation(kind):
    keys = jax.random.split(KEY, 200)
    t = jax.vmap(compiled(kind), in_axes=(0, None, None))(
      keys, jnp.arange(32), jnp.int32(32)
    )
    return float((t**2).mean(axis=1).std())

  assert deviation(kind) < deviation("independent") / 5


def test_times_are_rescaled_to_low_and_high():
  plain = sample_times(KEY, jnp.arange(8), 8)
  moved = sample_times(KEY, jnp.arange(8), 8, low=1e-3, high=0.9)
  np.testing.assert_allclose(moved, 1e-3 + (0.9 - 1e-3) * plain, rtol=1e-6)


@pytest.mark.parametrize("length", [1, 5, 16, 64])
def test_counts_lie_between_one_and_length_and_fall_evenly(length):
  counts = np.asarray(sample_counts(KEY, jnp.arange(64), 64, length))
  hits = np.bincount(counts, minlength=length + 1)
  assert hits[0] == 0 and len(hits) == length + 1
  assert np.ptp(hits[1:]) <= (0 if 64 % length == 0 else 1)


def test_counts_take_a_length_per_row_and_give_one_to_an_empty_row():
  length = jnp.array([0, 1, 2, 1000])
  for seed in range(5):
    counts = sample_counts(jax.random.key(seed), jnp.arange(4), 4, length)
    assert counts[0] == 1 and counts[1] == 1 and 1 <= counts[2] <= 2
    assert 1 <= counts[3] <= 1000


def test_places_count_rows_within_the_step():
  batch = {"index": np.arange(32, 48, dtype=np.int32)}
  place, total = batch_places(batch)
  assert place.tolist() == list(range(16)) and total == 16
  piece = {"index": batch["index"][1::4], "examples": jnp.int32(16)}
  place, total = batch_places(piece)
  assert place.tolist() == [1, 5, 9, 13] and total == 16


def test_unknown_kinds_and_empty_ranges_are_errors():
  with pytest.raises(ValueError, match="did you mean 'stratified'"):
    sample_times(KEY, jnp.arange(2), 2, "strata")
  with pytest.raises(ValueError, match="low < high"):
    sample_times(KEY, jnp.arange(2), 2, low=0.5, high=0.5)
