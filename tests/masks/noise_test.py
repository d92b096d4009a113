"""Coloured noise: its spectra, and the windows that become masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.noise import (
  SIGMAS,
  Crops,
  color_at,
  color_patterns,
  cut_windows,
  draw_crops,
  filter_noise,
  noise_windows,
)
from mdm.masks.scores import random_scores, split_by_score

SIDE, KEPT, ROWS = 14, 49, 10_000
COLORS = tuple(SIGMAS)
# Probability 1e-3 that the largest of 196 normal deviates is above.
LARGEST = 4.6


def row_keys(seed=0, rows=ROWS):
  return example_keys(jax.random.key(seed), jnp.arange(rows))


@jax.jit
def mask_of(keys, patterns):
  score = -noise_windows(keys, patterns, SIDE, SIDE)
  return split_by_score(score, KEPT).mask


@functools.cache
def masks(color, sigmas=None):
  """Masks of 14 x 14 patches, 10,000 of them, from 256 patterns."""
  patterns = color_patterns(color, seed=3, count=256, sigmas=sigmas)
  return np.asarray(mask_of(row_keys(), patterns))


@functools.cache
def white():
  return np.random.default_rng(0).standard_normal((256, 64, 64))


def neighbours(mask):
  """P(a neighbour is visible | a patch is visible)."""
  seen = ~mask.reshape(-1, SIDE, SIDE)
  pairs = (seen[:, 1:] & seen[:, :-1]).sum() + (seen[:, :, 1:] & seen[:, :, :-1]).sum()
  degree = np.full((SIDE, SIDE), 4)
  for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
    degree[edge] -= 1
  return 2 * pairs / (seen * degree).sum()


def distance(mask):
  """Mean Chebyshev distance of hidden patches to the nearest visible one."""
  seen = ~mask.reshape(-1, SIDE, SIDE)
  total, reached = 0, seen
  while not reached.all():
    total += (~reached).sum()
    wide = np.pad(reached, ((0, 0), (1, 1), (1, 1)))
    rows = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    reached = rows[:, :, :-2] | rows[:, :, 1:-1] | rows[:, :, 2:]
  return total / (~seen).sum()


@pytest.mark.parametrize("color", COLORS)
def test_every_colour_leaves_the_exact_count_visible(color):
  assert (masks(color).sum(axis=1) == SIDE * SIDE - KEPT).all()


def test_any_increasing_transform_of_the_noise_leaves_the_mask():
  patterns = color_patterns("green", seed=3, count=8)
  keys = row_keys(rows=64)
  expected = mask_of(keys, patterns)
  for change in (np.exp, lambda x: 3 * x - 7, lambda x: x**3):
    assert (mask_of(keys, change(patterns)) == expected).all()


def test_the_mean_periodogram_is_the_square_of_each_transfer_function():
  u = np.fft.fftfreq(64)
  radius = np.hypot(u[:, None], u[None, :])
  bins = np.digitize(radius, np.linspace(0, 0.5, 17)) - 1

  def low(s):
    return np.exp(-2 * (np.pi * s * radius) ** 2)

  transfers = {
    "white": np.ones_like(radius),
    "red": low(1.5),
    "blue": 1 - low(1.5),
    "green": low(0.5) - low(2.0),
    "purple": 1 - low(0.5) + low(2.0),
  }
  sigmas = {"red": (1.5,), "blue": (1.5,)}
  for color, transfer in transfers.items():
    noise = filter_noise(white(), color, sigmas.get(color))
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0) / 64**2
    for k in range(16):
      got, expected = power[bins == k].mean(), (transfer[bins == k] ** 2).mean()
      # 256 patterns, at least 8 frequencies, in pairs: 3% standard deviation at most.
      assert got == pytest.approx(expected, rel=0.1 if k == 0 else 0.05, abs=1e-12)


@pytest.mark.parametrize(("sigma", "expected"), [(1.0, 0.7788), (2.0, 0.9394)])
def test_red_noise_has_the_correlation_of_its_filter(sigma, expected):
  noise = filter_noise(white(), "red", (sigma,))
  for axis in (1, 2):
    lagged = (noise * np.roll(noise, 1, axis)).mean() / (noise**2).mean()
    assert lagged == pytest.approx(expected, abs=5e-3)
  assert expected == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=1e-4)


@pytest.mark.parametrize(("one", "other"), [("green", "purple"), ("red", "blue")])
def test_complements_add_up_to_their_white_noise(one, other):
  both = filter_noise(white(), one) + filter_noise(white(), other)
  # One rounding of the difference, one of the sum.
  assert np.abs(both - white()).max() <= 2 * np.spacing(np.abs(white()).max())


def test_white_is_left_as_it_is():
  assert (filter_noise(white(), "white") == white()).all()


def test_clustering_is_that_of_the_colours():
  cases = {
    ("blue", None): (0.18, 1.08),
    ("white", None): (0.246, 1.14),
    ("green", None): (0.37, 1.20),
    ("green", (1, 2)): (0.56, 1.46),
    ("red", None): (0.64, 1.78),
    ("red", (2,)): (0.79, None),
    ("purple", None): (0.15, None),
  }
  for (color, sigmas), (near, far) in cases.items():
    found = masks(color, sigmas)
    assert neighbours(found) == pytest.approx(near, abs=0.02)
    assert far is None or distance(found[:2_000]) == pytest.approx(far, abs=0.03)


def test_colours_are_ordered_from_spread_to_clustered():
  order = [masks(color) for color in ("blue", "white", "green", "red")]
  near, far = [neighbours(m) for m in order], [distance(m[:2_000]) for m in order]
  assert near == sorted(near) and min(np.diff(near)) > 0.04
  assert far == sorted(far) and min(np.diff(far)) > 0.04


@pytest.mark.parametrize("color", COLORS)
def test_every_place_is_hidden_equally_often(color):
  deviation = (masks(color).mean(axis=0) - 0.75) / (0.1875 / ROWS) ** 0.5
  assert abs(deviation).max() < LARGEST
  if color in ("white", "blue"):  # the others' places are too much alike for it
    # Chi-square with 195 degrees of freedom exceeds 262 with probability 1e-3.
    assert (deviation**2).sum() * 195 / 196 < 262


def test_two_examples_of_a_batch_have_nothing_in_common():
  seen = ~masks("green")
  common = (seen[::2] & seen[1::2]).sum(axis=1)
  error = common.std() / len(common) ** 0.5
  assert abs(common.mean() - KEPT**2 / SIDE**2) < 4 * error


def test_white_noise_is_uniform_masking():
  uniform = split_by_score(random_scores(row_keys(seed=1), SIDE**2), KEPT).mask
  for lag in (1, 2, SIDE, SIDE + 1, 3 * SIDE):
    pairs = [
      (~m[:, lag:] & ~m[:, :-lag]).sum(axis=1)
      for m in (masks("white"), np.asarray(uniform))
    ]
    difference = pairs[0].mean() - pairs[1].mean()
    error = (sum(p.var() for p in pairs) / ROWS) ** 0.5
    assert abs(difference) < 4 * error


def test_a_window_goes_on_at_the_other_edge_and_turns_over():
  patterns = jnp.arange(2 * 20.0).reshape(2, 4, 5)
  crops = Crops(
    pattern=jnp.array([0, 1, 1]),
    top=jnp.array([1, 3, 0]),
    left=jnp.array([2, 4, 1]),
    flips_rows=jnp.array([False, False, True]),
    flips_columns=jnp.array([False, True, False]),
  )
  expected = [[7, 8, 9, 12, 13, 14], [36, 35, 39, 21, 20, 24], [26, 27, 28, 21, 22, 23]]
  assert cut_windows(patterns, crops, 2, 3).tolist() == expected


def test_patterns_offsets_and_flips_are_all_drawn_equally_often():
  crops = draw_crops(row_keys(), (5, 8, 7))
  for drawn, kinds in zip(crops, (5, 8, 7, 2, 2), strict=True):
    hits = np.bincount(np.asarray(drawn, int), minlength=kinds)
    assert len(hits) == kinds
    # Chi-square with up to 7 degrees of freedom exceeds 24.3 with probability 1e-3.
    assert ((hits - ROWS / kinds) ** 2).sum() * kinds / ROWS < 24.3
  together = np.stack([np.asarray(drawn, float) for drawn in crops])
  assert abs(np.corrcoef(together) - np.eye(5)).max() < 0.04


def test_patterns_are_kept_reproducible_and_of_unit_variance():
  first = color_patterns("green", seed=5, count=4, size=16)
  assert first is color_patterns("green", seed=5, count=4, size=16)
  assert first.dtype == np.float32 and not first.flags.writeable
  np.testing.assert_allclose(first.mean(axis=(1, 2)), 0, atol=1e-6)
  np.testing.assert_allclose(first.std(axis=(1, 2)), 1, rtol=1e-6)
  color_patterns.cache_clear()
  assert (color_patterns("green", seed=5, count=4, size=16) == first).all()
  assert (color_patterns("green", seed=6, count=4, size=16) != first).any()


def test_a_curriculum_changes_colour_without_compiling_again():
  stacked = np.stack([color_patterns(c, seed=0, count=4) for c in ("green", "blue")])
  keys, counts = row_keys(rows=8), []

  @jax.jit
  def draw(keys, epoch):
    counts.append(1)
    color = color_at(epoch, (200,))
    return noise_windows(keys, stacked, SIDE, SIDE, color=color)

  for epoch, patterns in ((0.0, stacked[0]), (199.9, stacked[0]), (200.0, stacked[1])):
    expected = noise_windows(keys, patterns, SIDE, SIDE)
    assert (draw(keys, jnp.float32(epoch)) == expected).all()
  assert counts == [1]


def test_the_colour_of_an_epoch_counts_the_changes_behind_it():
  found = [int(color_at(e, (200, 250, 275))) for e in (0, 199, 200, 250.0, 275, 900)]
  assert found == [0, 0, 1, 2, 3, 3]
  with pytest.raises(ValueError, match="do not ascend"):
    color_at(0, (250, 200))


def test_a_mask_follows_its_example_through_any_batch():
  patterns = color_patterns("green", seed=3, count=256)
  some = mask_of(example_keys(jax.random.key(0), jnp.array([70, 5, 9])), patterns)
  assert (np.asarray(some) == masks("green")[[70, 5, 9]]).all()


def test_a_mask_is_the_same_on_eight_devices_without_exchange():
  patterns = color_patterns("green", seed=3, count=256)
  mesh = jax.make_mesh((jax.device_count(),), ("data",))
  rows = jax.NamedSharding(mesh, jax.P("data"))

  @functools.partial(jax.jit, in_shardings=rows, out_shardings=rows)
  def draw(index):
    return mask_of(example_keys(jax.random.key(0), index), patterns)

  compiled = draw.lower(jnp.arange(16)).compile()
  assert "all-" not in compiled.as_text()
  drawn = compiled(jax.device_put(jnp.arange(16), rows))
  assert (np.asarray(drawn) == masks("green")[:16]).all()


def test_grids_need_not_be_square_but_fit_the_patterns():
  patterns = color_patterns("green", seed=0, count=2, size=16)
  assert noise_windows(row_keys(rows=3), patterns, 4, 16).shape == (3, 64)
  with pytest.raises(
    ValueError, match=r"16 x 16 are smaller .* with size = 17 or more"
  ):
    noise_windows(row_keys(rows=3), patterns, 17, 4)


@pytest.mark.parametrize(
  ("color", "sigmas"),
  [("green", (2.0, 0.5)), ("red", (0.0,)), ("red", (1, 2)), ("white", (1,))],
)
def test_widths_that_make_no_filter_are_refused(color, sigmas):
  with pytest.raises(ValueError, match=f"do not filter {color} noise"):
    filter_noise(np.zeros((1, 4, 4)), color, sigmas)


def test_an_unknown_colour_names_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'green'"):
    color_patterns("grean", seed=0)
