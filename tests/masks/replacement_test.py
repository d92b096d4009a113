"""Token-replacement noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.replacement import replace_tokens as replace_eagerly

replace_tokens = jax.jit(replace_eagerly, static_argnames=("num_ids", "ratio_range"))

ROWS, LENGTH, NUM_IDS = 10_000, 12, 97
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 95, (ROWS, LENGTH)))
VALID = jnp.broadcast_to(jnp.arange(LENGTH) < 9, (ROWS, LENGTH))


def replace(index=None, tokens=TOKENS, **settings):
  index = jnp.arange(ROWS) if index is None else index
  keys = example_keys(jax.random.key(1), index)
  return replace_tokens(keys, tokens, VALID[: len(index)], num_ids=NUM_IDS, **settings)


def test_the_share_of_changed_tokens_is_half_of_the_other_ids():
  changed = np.asarray(replace()[0] != TOKENS)[:, :9].mean(axis=1)
  expected = 0.5 * (1 + 1e-3) * (1 - 1 / NUM_IDS)
  assert abs(changed.mean() - expected) < 4 * changed.std() / ROWS**0.5


def test_replacements_are_uniform_over_every_id():
  tokens, replaced = replace()
  counts = np.bincount(np.asarray(tokens)[np.asarray(replaced)], minlength=NUM_IDS)
  expected = counts.sum() / NUM_IDS
  # 96 degrees of freedom: exceeded with probability 1e-3.
  assert ((counts - expected) ** 2 / expected).sum() < 144.6


def test_each_row_has_its_own_share():
  share = np.asarray(replace()[1])[:, :9].mean(axis=1)
  assert share.std() > 0.25  # a fixed q of 0.5 would give 0.17


def test_padding_is_never_replaced():
  tokens, replaced = replace()
  assert (tokens[:, 9:] == TOKENS[:, 9:]).all()
  assert not replaced[:, 9:].any()


def test_an_empty_range_replaces_nothing_and_a_full_one_everything():
  assert not replace(ratio_range=(0.0, 0.0))[1].any()
  assert (replace(ratio_range=(1.0, 1.0))[1] == VALID).all()


def test_replacement_follows_its_example_through_any_batch_order():
  order = np.random.default_rng(0).permutation(ROWS)
  shuffled, _ = replace(jnp.asarray(order), TOKENS[order])
  assert (shuffled == replace()[0][order]).all()


def test_an_impossible_range_is_refused():
  with pytest.raises(ValueError, match="two shares in"):
    replace(ratio_range=(0.5, 0.1))
