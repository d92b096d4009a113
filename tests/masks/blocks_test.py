"""Blocks: who sees whom, and strata of time that are shared out once each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.blocks import check_blocks, spread_strata, two_stream_visible

N = 12
LENGTHS = (1, 3, 4, 12)


@pytest.mark.parametrize("length", LENGTHS)
def test_visibility_is_that_of_the_definition_pair_by_pair(length):
  found = two_stream_visible(N, length)
  for q in range(2 * N):
    for k in range(2 * N):
      a, b = q % N // length, k % N // length
      from_noised = a == b if k < N else b < a
      expected = from_noised if q < N else k >= N and b <= a
      assert found[q, k] == expected, (q, k)


def test_one_block_is_full_attention_on_the_noised_half():
  visible = two_stream_visible(N, N)
  assert visible[:N, :N].all()
  assert not visible[:N, N:].any()


def test_blocks_of_one_see_all_clean_tokens_before_them():
  visible = two_stream_visible(N, 1)
  np.testing.assert_array_equal(visible[:N, N:], np.tri(N, k=-1, dtype=bool))
  np.testing.assert_array_equal(visible[N:, N:], np.tri(N, dtype=bool))


@functools.partial(jax.jit, static_argnums=(1, 2))
def strata(seed, rows, blocks):
  return spread_strata(jax.random.key(seed), jnp.arange(rows), rows, blocks)


@pytest.mark.parametrize(("rows", "blocks"), [(1, 7), (5, 4), (8, 1), (3, 6)])
def test_every_stratum_is_given_once(rows, blocks):
  assert sorted(strata(3, rows, blocks).ravel()) == list(range(rows * blocks))


def test_strata_follow_the_place_and_not_the_batch():
  whole = strata(0, 8, 4)
  part = spread_strata(jax.random.key(0), jnp.array([5, 1]), jnp.array(8), 4)
  assert (part == whole[jnp.array([5, 1])]).all()


def test_the_place_of_a_block_says_nothing_of_its_stratum():
  draws = jax.vmap(lambda seed: strata(seed, 2, 3))(jnp.arange(3000))  # s 2 3
  counts = jnp.stack([(draws == k).mean(0) for k in range(6)])
  # 3000 draws of probability 1/6: 5 sigma = 0.034
  np.testing.assert_allclose(counts, 1 / 6, atol=0.034)


def test_blocks_of_one_row_have_strata_that_are_hardly_correlated():
  draws = jax.vmap(lambda seed: strata(seed, 8, 4)[3])(jnp.arange(3000))  # s 4
  found = np.corrcoef(np.asarray(draws).T)
  # Without replacement from 32 strata: -1/31 at most; 5 sigma of 3000 draws = 0.09
  assert np.abs(found - np.eye(4)).max() < 0.12


@pytest.mark.parametrize("length", [0, 5, 24])
def test_blocks_that_do_not_fill_the_row_are_an_error(length):
  with pytest.raises(ValueError, match="whole blocks"):
    check_blocks(N, length)
