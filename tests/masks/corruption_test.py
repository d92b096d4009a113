"""Hidden tokens: their law, their number, and what is never touched."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from mdm.masks.corruption import hide_count, hide_tokens
from mdm.masks.keys import example_keys

MASK = 9
ROWS, LENGTH = 6000, 4
TOKENS = jnp.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % MASK
CAN = jnp.ones((ROWS, LENGTH), bool)


def keys(rows=ROWS, seed=0):
  return example_keys(jax.random.key(seed), jnp.arange(rows))


def hide(can=CAN, rate=0.3):
  return hide_tokens(keys(), TOKENS, can, jnp.full(ROWS, rate), mask_id=MASK)


def test_mask_stands_exactly_where_hidden_and_nothing_else_changes():
  for zt, mask in (
    hide(),
    hide_count(keys(), TOKENS, CAN, jnp.arange(ROWS) % 5, mask_id=MASK),
  ):
    assert ((zt == MASK) == mask).all()
    assert (zt == TOKENS)[~mask].all()


def test_tokens_hide_by_themselves_with_the_rows_rate():
  rate = jnp.where(jnp.arange(ROWS) % 2 == 0, 0.2, 0.7)
  mask = np.asarray(hide_tokens(keys(), TOKENS, CAN, rate, mask_id=MASK)[1], np.float64)
  for part, p in ((mask[::2], 0.2), (mask[1::2], 0.7)):
    spread = 4 * (p * (1 - p) / len(part)) ** 0.5
    assert (abs(part.mean(axis=0) - p) < spread).all()
    pairs = np.corrcoef(part.T)[np.triu_indices(LENGTH, 1)]
    assert (abs(pairs) < 4 / len(part) ** 0.5).all()


def test_rates_zero_and_one_hide_nothing_and_everything():
  assert not hide(rate=0.0)[1].any()
  assert hide(rate=1.0)[1].all()


def test_padding_and_prompt_are_never_hidden():
  can = CAN.at[:, 0].set(False).at[:, 3].set(False)
  for mask in (
    hide(can, 1.0)[1],
    hide_count(keys(), TOKENS, can, jnp.full(ROWS, 4), mask_id=MASK)[1],
  ):
    assert (mask == can).all()


def test_count_hides_exactly_so_many_and_every_choice_is_equally_likely():
  count = jnp.full(ROWS, 2)
  mask = np.asarray(hide_count(keys(), TOKENS, CAN, count, mask_id=MASK)[1])
  assert (mask.sum(axis=1) == 2).all()
  choices = list(itertools.combinations(range(LENGTH), 2))
  hits = [mask[:, list(pair)].all(axis=1).sum() for pair in choices]
  # Chi-square with 5 degrees of freedom exceeds 20.5 with probability 1e-3.
  assert sum((h - ROWS / 6) ** 2 / (ROWS / 6) for h in hits) < 20.5


def test_a_row_does_not_depend_on_its_neighbours():
  order = jnp.array([4, 0, 3])
  rate = jnp.linspace(0, 1, 5)
  zt, _ = hide_tokens(keys(5), TOKENS[:5], CAN[:5], rate, mask_id=MASK)
  part, _ = hide_tokens(
    keys(5)[order], TOKENS[order], CAN[order], rate[order], mask_id=MASK
  )
  np.testing.assert_array_equal(part, zt[order])
