"""The six noisings of MDiff4STR, over ten thousand draws each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.strategies import (
  BLOCK_VARIANTS,
  STRATEGIES,
  draw_noising,
  strategy_weights,
)

DRAWS, CANVAS = 10_000, 26
INDEX = jnp.arange(DRAWS)
LENGTHS = np.asarray(2 + np.arange(DRAWS) % (CANVAS - 1))  # every m from 2 to 26


@functools.partial(jax.jit, static_argnames="variant")
def draw_rows(index, lengths, weights, variant):
  keys = example_keys(jax.random.key(3), index)
  return draw_noising(keys, lengths, CANVAS, weights=weights, block_variant=variant)


def draw(name=None, lengths=LENGTHS, *, variant="released", index=INDEX):
  """Ten thousand rows of one strategy, or of all six."""
  lengths = jnp.asarray(np.broadcast_to(lengths, DRAWS), jnp.int32)
  weights = jnp.array([float(name in (None, other)) for other in STRATEGIES])
  return jax.tree.map(np.asarray, draw_rows(index, lengths, weights, variant))


def chi_square(counts):
  expected = counts.sum() / len(counts)
  return ((counts - expected) ** 2 / expected).sum()


def prefix_of(visible):
  """Length of the visible prefix; asserts that nothing else is visible."""
  length = visible.sum(axis=1)
  assert (visible == (np.arange(CANVAS) < length[:, None])).all()
  return length


@pytest.mark.parametrize("name", STRATEGIES)
def test_loss_and_visible_positions_divide_the_real_tokens(name):
  noising = draw(name)
  real = np.arange(CANVAS) < LENGTHS[:, None]
  assert not (noising.mask & noising.visible).any()
  assert ((noising.mask | noising.visible) == real).all()
  assert noising.mask.any(axis=1).all()


def test_full_mask_shows_nothing():
  assert not draw("full").visible.any()


def test_the_last_token_has_loss_under_right_and_never_under_left():
  last = np.arange(CANVAS) == LENGTHS[:, None] - 1
  longer = LENGTHS > 2
  assert draw("right").mask[last][longer].all()
  assert not draw("left").mask[last][longer].any()


@pytest.mark.parametrize("name", ["right", "left"])
def test_split_points_are_uniform(name):
  noising = draw(name, lengths=9)
  visible = noising.visible if name == "right" else noising.mask
  counts = np.bincount(prefix_of(visible), minlength=10)
  assert counts[0] == counts[9] == 0
  assert chi_square(counts[1:9]) < 24.3  # 7 degrees of freedom, p = 1e-3


def test_cloze_hides_one_uniformly_chosen_token():
  mask = draw("cloze", lengths=9).mask
  assert (mask.sum(axis=1) == 1).all()
  assert chi_square(mask.sum(axis=0)[:9]) < 26.1  # 8 degrees of freedom, p = 1e-3


def test_random_mask_hides_slightly_more_than_half():
  m = 9
  share = draw("random", lengths=m).mask.sum(axis=1) / m
  expected = 0.5 + 1 / (m * (m + 1))  # one token is hidden where none was hit
  assert abs(share.mean() - expected) < 4 * share.std() / DRAWS**0.5


def test_random_mask_hides_any_count_equally_often():
  counts = np.bincount(draw("random", lengths=9).mask.sum(axis=1), minlength=10)
  # p ~ U(0, 1) makes every count 0..m equally likely; a count of 0 becomes 1.
  expected = DRAWS * np.array([2, 1, 1, 1, 1, 1, 1, 1, 1]) / 10
  assert ((counts[1:] - expected) ** 2 / expected).sum() < 26.1  # 8 d.o.f., p = 1e-3


@pytest.mark.parametrize("name", ["right", "left", "block", "cloze"])
def test_a_word_of_one_character_takes_the_random_mask(name):
  noising = draw(name, lengths=2)
  assert (noising.strategy == STRATEGIES.index("random")).all()
  assert (noising.mask == draw("random", lengths=2).mask).all()


def released_prefixes(m, rng):
  """Reference: prefix length of one released block draw; None for the fallback."""
  count = min(rng.integers(2, 7), m)
  size = m // count
  if size == 1:
    return None
  blocks = count + (1 if m % count else 0)
  chosen = 1 if blocks == 2 else rng.integers(2, blocks + 1)
  return int(size * (chosen - 1))


@pytest.mark.parametrize("m", [8, 13, 24])
def test_block_prefixes_follow_the_released_distribution(m):
  rng = np.random.default_rng(0)
  drawn = [released_prefixes(m, rng) for _ in range(DRAWS)]
  fallback = drawn.count(None) / DRAWS
  noising = draw("block", lengths=m)
  is_prefix = noising.visible[:, 0] | noising.mask[:, :m].all(axis=1)
  # A fallback is a left mask half of the time: its first token is hidden.
  assert abs((~is_prefix).mean() - fallback / 2) < 0.02
  expected = np.bincount([x for x in drawn if x is not None], minlength=m) / DRAWS
  expected[1:m] += fallback / 2 / (m - 1)  # and a right mask the other half
  found = np.bincount(prefix_of(noising.visible[is_prefix]), minlength=m) / DRAWS
  assert np.abs(found - expected).max() < 0.02  # four standard errors of a difference


def test_released_blocks_hide_everything_in_a_fifth_of_eight_token_draws():
  noising = draw("block", lengths=8)
  assert abs((~noising.visible.any(axis=1)).mean() - 0.2) < 4 * (0.16 / DRAWS) ** 0.5


def test_uniform_blocks_may_show_no_block_at_all():
  counts = np.bincount(prefix_of(draw("block", 24, variant="uniform").visible))
  # s of 2, 3, 4 and 6 divide 24 into s blocks, 5 leaves a sixth block of 4.
  empty = np.mean([1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 6])
  assert abs(counts[0] / DRAWS - empty) < 4 * (empty * (1 - empty) / DRAWS) ** 0.5


def test_strategies_are_drawn_equally_often():
  counts = np.bincount(draw(lengths=9).strategy, minlength=6)
  assert chi_square(counts) < 20.5  # 5 degrees of freedom, p = 1e-3


def test_six_strategies_close_the_noising_gap():
  m = 9
  share_of_six = 1 - draw(lengths=m).visible.any(axis=1).mean()
  share_of_random = 1 - draw("random", lengths=m).visible.any(axis=1).mean()
  spread = 4 * (0.25 / DRAWS) ** 0.5
  assert share_of_six > 1 / 6 + 1 / 6 / (m + 1) - spread
  assert abs(share_of_random - 1 / (m + 1)) < spread


@pytest.mark.parametrize("variant", BLOCK_VARIANTS)
def test_rows_of_padding_hide_nothing(variant):
  noising = draw(lengths=0, variant=variant)
  assert not (noising.mask | noising.visible).any()


def test_a_noising_follows_its_example_through_any_batch_order():
  order = np.random.default_rng(0).permutation(DRAWS)
  shuffled = draw(lengths=LENGTHS[order], index=INDEX[order])
  assert (shuffled.mask == draw().mask[order]).all()
  assert (shuffled.strategy == draw().strategy[order]).all()


def test_unknown_block_variant_names_the_nearest():
  keys = example_keys(jax.random.key(0), jnp.arange(2))
  with pytest.raises(ValueError, match="did you mean 'released'"):
    draw_noising(keys, jnp.array([5, 6]), CANVAS, block_variant="release")


@pytest.mark.parametrize("weights", [(1, 1), (0,) * 6, (1, 1, 1, 1, 1, -1)])
def test_impossible_strategy_weights_are_refused(weights):
  with pytest.raises(ValueError, match="must be 6 numbers"):
    strategy_weights(weights)
