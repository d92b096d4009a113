"""Tolerance: 1e-5 on values near 1, float32 sums in another order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.feature_norm import STATS, FeatureNorm

RNG = np.random.default_rng(0)
FRAMES, BINS = 12, 5
LENGTHS = np.array([12, 7, 1, 0])
VALID = np.arange(FRAMES) < LENGTHS[:, None]
KEY = jax.random.key(0)
SHAPE = (4, FRAMES, BINS)


def draw_batch():
  """Features far from 0, each bin of another spread."""
  return (8 + RNG.normal(size=SHAPE) * np.arange(1, BINS + 1)).astype(np.float32)


BATCHES = [draw_batch() for _ in range(3)]


def start(norm):
  """What a module begins with."""
  return norm.init(KEY, jnp.asarray(BATCHES[0]), jnp.asarray(VALID), train=True)


def use(norm, stats, x, valid=VALID):
  """Results outside of training."""
  y = norm.apply(stats, jnp.asarray(x), jnp.asarray(valid), train=False)
  return np.asarray(y)


def train(norm, batches, valid=VALID, stats=None):
  """Results and the collection after a step on each batch."""
  stats, results = start(norm) if stats is None else stats, []
  step = jax.jit(
    lambda stats, x, valid: norm.apply(stats, x, valid, train=True, mutable=[STATS])
  )
  for x in batches:
    y, stats = step(stats, jnp.asarray(x), jnp.asarray(valid))
    results.append(np.asarray(y))
  return results, stats


def seen(batches, axis):
  """Mean and variance of all valid frames, in float64."""
  x = np.concatenate([x[VALID] for x in batches]).astype(np.float64)
  axes = 0 if axis == "bin" else None
  return x.mean(axes), x.var(axes)


@pytest.mark.parametrize("axis", ["bin", "all"])
def test_the_corpus_is_every_valid_frame_so_far_this_batch_included(axis):
  norm = FeatureNorm("corpus", axis)
  results, stats = train(norm, BATCHES)
  for k, y in enumerate(results):
    mean, variance = seen(BATCHES[: k + 1], axis)
    wanted = (BATCHES[k] - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(y[VALID], wanted[VALID], atol=1e-5)
  assert stats[STATS]["count"] == 3 * LENGTHS.sum()
  y = use(norm, stats, BATCHES[0])
  mean, variance = seen(BATCHES, axis)
  wanted = (BATCHES[0] - mean) / np.sqrt(variance + 1e-5)
  np.testing.assert_allclose(y[VALID], wanted[VALID], atol=1e-5)


def test_after_it_has_settled_the_corpus_stays_as_it_is():
  norm = FeatureNorm(settle=21)  # a batch has 20 frames, so the second is the last
  results, stats = train(norm, BATCHES)
  assert stats[STATS]["count"] == 40
  mean, variance = seen(BATCHES[:2], "bin")
  wanted = (BATCHES[2] - mean) / np.sqrt(variance + 1e-5)
  np.testing.assert_allclose(results[2][VALID], wanted[VALID], atol=1e-5)


def test_a_large_mean_costs_no_precision():
  far = [x + 1000 for x in BATCHES]
  near, _ = train(FeatureNorm(), BATCHES)
  results, _ = train(FeatureNorm(), far)
  np.testing.assert_allclose(results[2], near[2], atol=2e-3)  # 1000 has 6e-5 steps


def test_a_batch_without_frames_changes_nothing():
  norm, empty = FeatureNorm(), np.zeros_like(VALID)
  _, stats = train(norm, BATCHES)
  (y,), after = train(norm, BATCHES[:1], empty, stats)
  assert (y == 0).all()
  jax.tree.map(np.testing.assert_array_equal, after, stats)


def test_with_nothing_seen_features_stay_as_they_are():
  norm = FeatureNorm(epsilon=0.0)
  stats = start(norm)
  assert stats[STATS]["count"] == 0
  y = use(norm, stats, BATCHES[0])
  np.testing.assert_array_equal(y[VALID], BATCHES[0][VALID])


@pytest.mark.parametrize("mode", ["utterance", "none"])
def test_other_modes_keep_nothing(mode):
  norm = FeatureNorm(mode)
  assert start(norm) == {}


@pytest.mark.parametrize(("axis", "axes"), [("bin", 0), ("all", None)])
def test_an_utterance_has_its_own_mean_and_variance(axis, axes):
  y = use(FeatureNorm("utterance", axis), {}, BATCHES[0])
  for row, length in enumerate(LENGTHS[:2]):
    own = y[row, :length]
    np.testing.assert_allclose(own.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(own.var(axes), 1, atol=1e-4)
  if axis == "all":  # a bin keeps its place among the others
    assert np.abs(y[0].mean(axis=0)).max() > 0.01


def test_none_leaves_features_as_they_are_in_float32():
  x = jnp.asarray(BATCHES[0], jnp.bfloat16)
  y = use(FeatureNorm("none"), {}, x)
  assert y.dtype == jnp.float32
  np.testing.assert_array_equal(y[VALID], np.asarray(x, np.float32)[VALID])


@pytest.mark.parametrize("mode", ["corpus", "utterance", "none"])
def test_padding_is_0_and_what_it_holds_is_seen_by_nobody(mode):
  norm = FeatureNorm(mode)
  plain, stats = train(norm, BATCHES[:1])
  broken, other = train(norm, [np.where(VALID[..., None], BATCHES[0], np.nan)])
  assert (plain[0][~VALID] == 0).all()
  np.testing.assert_array_equal(broken[0], plain[0])
  jax.tree.map(np.testing.assert_array_equal, other, stats)


def test_a_bin_that_never_varies_becomes_0():
  constant = BATCHES[0].copy()
  constant[..., 2] = -15.942385
  for mode in ("corpus", "utterance"):
    results, _ = train(FeatureNorm(mode), [constant])
    np.testing.assert_allclose(results[0][..., 2], 0, atol=1e-3)


def test_moments_depend_on_no_number_of_devices():
  mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  x = np.concatenate(BATCHES[:2])
  valid = np.concatenate([VALID, VALID])  # two devices hold padding alone
  results, stats = train(FeatureNorm(), [x], valid)
  with jax.set_mesh(mesh):
    spread, other = train(
      FeatureNorm(), [jax.device_put(x, rows)], jax.device_put(valid, rows)
    )
  np.testing.assert_allclose(spread[0], results[0], atol=1e-5)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5)  # noqa: E731
  jax.tree.map(close, other, stats)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(mode="batch"), "mode = 'batch' of FeatureNorm is unknown; write one of corp"),
    (dict(axis="time"), "axis = 'time' of FeatureNorm is unknown; write one of bin"),
    (dict(settle=0), "settle = 0 frames of FeatureNorm lies outside"),
    (dict(settle=2**31), "settle = 2147483648 frames of FeatureNorm lies outside"),
  ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    start(FeatureNorm(**settings))
