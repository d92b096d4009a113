"""Beams of prefixes: who is whose parent, what is merged, chosen and grown."""

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding.prefixes import (
  NEVER,
  Beam,
  best_of,
  check_search,
  choose,
  empty_beam,
  find_parents,
  grow,
  last_tokens,
  move_to_children,
)


@pytest.fixture
def beam():
  """ "", "1", "12", "2", and one that is dead: "1" once more."""
  tokens = [[0, 0, 0], [1, 0, 0], [1, 2, 0], [2, 9, 9], [1, 0, 0]]
  score = jnp.array([[-1.0, -2.0, -3.0, -4.0, NEVER]])
  return Beam(jnp.array([tokens]), jnp.array([[0, 1, 2, 1, 1]]), score)


def test_a_parent_is_a_prefix_less_its_last_token_and_the_dead_have_no_family(beam):
  found = np.argwhere(np.asarray(find_parents(beam)[0])).tolist()
  assert found == [[1, 0], [2, 1], [3, 0]]  # child, parent


def test_what_lies_behind_a_prefix_is_no_part_of_it(beam):
  dirty = beam._replace(tokens=beam.tokens.at[0, 0].set(7).at[0, 1, 1:].set(8))
  np.testing.assert_array_equal(find_parents(dirty), find_parents(beam))


def test_the_last_token_of_nothing_is_0(beam):
  assert last_tokens(beam).tolist() == [[0, 1, 2, 2, 1]]


def test_a_way_to_a_prefix_of_the_beam_is_its_gain_and_no_choice_of_its_own(beam):
  said = -10.0 - jnp.arange(15.0).reshape(1, 5, 3)
  left, gained = move_to_children(beam, said)
  moved = {(0, 1): 1, (0, 2): 3, (1, 2): 2}  # parent and token: child
  for parent, token in np.ndindex(5, 3):
    value = float(said[0, parent, token])
    if (parent, token) in moved:
      assert left[0, parent, token] == np.float32(NEVER)
      assert float(gained[0, moved[parent, token]]) == value
    else:
      assert float(left[0, parent, token]) == value
  assert (gained[0, jnp.array([0, 4])] == np.float32(NEVER)).all()


def test_the_best_of_what_stays_and_what_grows_is_kept_in_order():
  stays = jnp.array([[-1.0, -5.0], [-9.0, -9.0]])
  said = jnp.array([[[-7.0, -2.0], [-3.0, -8.0]], [[-4.0, -9.0], [-9.0, -4.0]]])
  source, token, score = choose(stays, said)
  assert source.tolist() == [[0, 0], [0, 1]]
  assert token.tolist() == [[-1, 1], [0, 1]]
  assert score.tolist() == [[-1.0, -2.0], [-4.0, -4.0]]


def test_a_prefix_that_grows_gets_a_token_behind_its_last(beam):
  source, token = jnp.array([[2, 0, 1, 1, 0]]), jnp.array([[0, 5, -1, 3, -1]])
  found = grow(beam, source, token, beam.score)
  rows = [
    row[:length].tolist()
    for row, length in zip(found.tokens[0], found.length[0].tolist(), strict=True)
  ]
  assert rows == [[1, 2, 0], [5], [1], [1, 3], []]


def test_a_search_begins_with_the_empty_prefix_alone():
  found = empty_beam(2, 3, 4)
  assert found.tokens.shape == (2, 3, 4) and (found.length == 0).all()
  assert (found.score[:, 0] == 0).all() and (found.score[:, 1:] < -1e29).all()
  assert not find_parents(found).any()


def test_the_best_text_is_the_first(beam):
  found = best_of(
    beam._replace(tokens=beam.tokens[:, ::-1], length=beam.length[:, ::-1])
  )
  assert found.tokens[0].tolist() == [1, 0, 0]
  assert found.valid[0].tolist() == [True, False, False]
  assert (found.frames == -1).all() and found.score[0] == -1


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_a_search_keeps_something(sizes):
  check_search(1, 1)
  with pytest.raises(ValueError, match="set it to 1 or more"):
    check_search(*sizes)
