"""Scores to masks of exact counts, and the counts themselves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.scores import (
  count_kept,
  hide_highest,
  random_scores,
  sets_by_score,
  split_by_mask,
  split_by_score,
)

ROWS, N, KEPT = 16, 49, 12
split = jax.jit(split_by_score, static_argnums=1)


def row_keys(seed=0, rows=ROWS):
  return example_keys(jax.random.key(seed), jnp.arange(rows))


@functools.cache
def drawn():
  score = random_scores(row_keys(), N)
  return np.asarray(score), split(score, KEPT)


@pytest.mark.parametrize(
  ("rounding", "counts"),
  [
    ("mae", (49, 19, 19, 9)),
    ("videomae", (49, 20, 20, 10)),
    ("spark", (49, 20, 20, 10)),
    ("simmim", (49, 19, 19, 10)),
  ],
)
def test_each_rule_rounds_as_its_paper_does(rounding, counts):
  cases = [(196, 0.75), (196, 0.9), (49, 0.6), (100, 0.9)]
  assert tuple(count_kept(n, r, rounding=rounding) for n, r in cases) == counts


def test_simmim_hides_thirty_of_forty_nine_cells():
  assert 49 - count_kept(49, 0.6, rounding="simmim") == 30


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 75.0, float("nan")])
def test_a_ratio_outside_its_open_interval_is_refused(ratio):
  with pytest.raises(ValueError, match=r"lies outside \(0, 1\); write 0.75"):
    count_kept(196, ratio)


def test_a_ratio_that_leaves_no_patch_visible_is_refused():
  with pytest.raises(ValueError, match=r"0\.9 of 4 patches leaves none visible"):
    count_kept(4, 0.9)


def test_a_ratio_that_hides_no_patch_is_refused():
  with pytest.raises(ValueError, match=r"0\.1 of 4 patches leaves none hidden"):
    count_kept(4, 0.1, rounding="videomae")


def test_an_unknown_rule_names_the_nearest():
  with pytest.raises(ValueError, match="did you mean 'simmim'"):
    count_kept(4, 0.5, rounding="simim")


def test_the_lowest_scores_stay():
  score, got = drawn()
  for row, keep, hide, mask in zip(score, got.keep, got.hide, got.mask, strict=True):
    order = np.argsort(row, kind="stable")
    assert keep.tolist() == sorted(order[:KEPT].tolist())
    assert hide.tolist() == sorted(order[KEPT:].tolist())
    assert np.flatnonzero(mask).tolist() == hide.tolist()


def test_restore_undoes_the_split():
  _, got = drawn()
  patches = np.random.default_rng(0).normal(size=(ROWS, N, 3))
  apart = np.concatenate([got.keep, got.hide], axis=1)
  listed = np.take_along_axis(patches, apart[..., None], axis=1)
  back = np.take_along_axis(listed, np.asarray(got.restore)[..., None], axis=1)
  assert (back == patches).all()


@pytest.mark.parametrize("kept", [1, 5, 9])
def test_equal_scores_keep_the_earliest(kept):
  got = split(jnp.zeros((2, 9)), kept)
  assert got.keep.tolist() == [list(range(kept))] * 2
  assert got.mask.sum(axis=1).tolist() == [9 - kept] * 2


def test_equal_scores_at_the_edge_share_what_room_is_left():
  got = split(jnp.array([[3.0, 1.0, 2.0, 2.0, 0.0, 2.0]]), 4)
  assert got.keep.tolist() == [[1, 2, 3, 4]]


def test_any_increasing_transform_leaves_the_mask():
  score, got = drawn()
  for change in (lambda s: 5 * s - 9, np.exp, lambda s: s**3):
    assert (split(jnp.asarray(change(score)), KEPT).mask == got.mask).all()


def test_infinite_scores_are_the_last_to_stay():
  score = jnp.array([[jnp.inf, 0.0, jnp.inf, -jnp.inf]])
  assert split(score, 3).keep.tolist() == [[0, 1, 3]]


@pytest.mark.parametrize("kept", [0, 1, 7, N])
def test_the_count_may_be_traced(kept):
  score, _ = drawn()
  mask = jax.jit(hide_highest)(score, jnp.int32(kept))
  order = np.argsort(score, axis=1)
  expected = np.ones((ROWS, N), bool)
  np.put_along_axis(expected, order[:, :kept], False, axis=1)
  assert (np.asarray(mask) == expected).all()


def test_a_mask_splits_as_its_scores_do():
  _, got = drawn()
  again = jax.jit(split_by_mask, static_argnums=1)(got.mask, KEPT)
  assert all((a == b).all() for a, b in zip(again, got, strict=True))


def test_a_mask_of_uneven_counts_is_refused():
  mask = jnp.array([[True, False, True], [True, False, False]])
  with pytest.raises(ValueError, match="keep 1 to 2 patches, not 1 each"):
    split_by_mask(mask, 1)


def test_a_known_mask_is_checked_where_other_things_are_traced():
  mask = jnp.array([[True, False, True], [True, True, False]])
  found = jax.jit(lambda: split_by_mask(mask, 1))()
  assert found.keep.tolist() == [[1], [2]]
  with pytest.raises(ValueError, match="keep 1 to 1 patches, not 2"):
    jax.jit(lambda: split_by_mask(mask, 2))()


def test_sets_are_disjoint_and_take_scores_in_their_order():
  score, whole = drawn()
  sets = [np.asarray(x) for x in sets_by_score(jnp.asarray(score), (KEPT, 5, 20))]
  assert [x.shape for x in sets] == [(ROWS, KEPT), (ROWS, 5), (ROWS, 20)]
  assert (sets[0] == whole.keep).all()  # one set alone is the split's
  for row in range(ROWS):
    values = [score[row, x[row]] for x in sets]
    assert values[0].max() < values[1].min() and values[1].max() < values[2].min()
    assert all((np.diff(x[row]) > 0).all() for x in sets)


@pytest.mark.parametrize("sizes", [(), (3, 0), (30, 20)])
def test_sets_that_do_not_fit_are_refused(sizes):
  with pytest.raises(ValueError, match="do not come out of 49 patches"):
    sets_by_score(jnp.zeros((1, N)), sizes)


@pytest.mark.parametrize("kept", [0, 10])
def test_a_count_outside_the_row_is_refused(kept):
  with pytest.raises(ValueError, match=f"{kept} of 9 patches cannot stay"):
    split_by_score(jnp.zeros((1, 9)), kept)


def test_random_scores_hide_every_place_equally_often():
  rows = 10_000
  mask = split(random_scores(row_keys(rows=rows), 16), 4).mask
  hits = np.asarray(mask.sum(axis=0))
  # Chi-square with 15 degrees of freedom exceeds 37.7 with probability 1e-3.
  assert ((hits - 0.75 * rows) ** 2 / (rows * 0.1875)).sum() * 15 / 16 < 37.7


def test_a_split_follows_its_example_through_any_batch():
  _, got = drawn()
  index = jnp.array([11, 3, 14])
  keys = example_keys(jax.random.key(0), index)
  some = split(random_scores(keys, N), KEPT)
  assert all((a == b[index]).all() for a, b in zip(some, got, strict=True))


def test_a_split_is_the_same_on_eight_devices_without_exchange():
  mesh = jax.make_mesh((jax.device_count(),), ("data",))
  rows = jax.NamedSharding(mesh, jax.P("data"))

  @functools.partial(jax.jit, in_shardings=rows, out_shardings=rows)
  def draw(index):
    return split_by_score(
      random_scores(example_keys(jax.random.key(0), index), N), KEPT
    )

  compiled = draw.lower(jnp.arange(ROWS)).compile()
  assert "all-" not in compiled.as_text()
  sharded = compiled(jax.device_put(jnp.arange(ROWS), rows))
  for a, b in zip(sharded, drawn()[1], strict=True):
    assert (np.asarray(a) == np.asarray(b)).all()
