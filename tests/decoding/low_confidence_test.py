"""Low-confidence remasking: counts, order, blocks, and tokens that must wait."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import (
  EOS,
  HIDDEN,
  IMAGES,
  MASK,
  ROWS,
  N,
  low_confidence_row,
  make_predict,
)

from mdm.decoding.low_confidence import choose_surest, count_commits
from mdm.decoding.sample import SamplerSettings, sample
from mdm.masks.keys import example_keys

KEYS = example_keys(jax.random.key(0), jnp.arange(ROWS))
CHECKED = 12  # rows compared with the plain loop
PROMPTED = HIDDEN.at[::2, 1].set(4).at[::2, 5].set(EOS)


@functools.partial(jax.jit, static_argnames=("settings",))
def run(canvas, *, settings):
  predict = make_predict(IMAGES[: len(canvas)])
  keys = KEYS[: len(canvas)]
  return sample(
    predict, canvas, keys, "low_confidence", mask_id=MASK, settings=settings
  )


def ran(canvas=HIDDEN[:CHECKED], **settings):
  settings = {"temperature": 0.0, "keeps_history": True} | settings
  result = run(canvas, settings=SamplerSettings(**settings))
  return jax.tree.map(np.asarray, result)


def test_counts_add_up_for_any_number_of_positions_and_passes():
  hidden, places, place = jnp.meshgrid(*[jnp.arange(40)] * 3, indexing="ij")
  places += 1
  count = jnp.where(place < places, count_commits(hidden, place, places), 0)
  assert (count.sum(-1) == hidden[..., 0]).all()
  assert count[10, 3, :4].tolist() == [3, 3, 2, 2]


def test_the_surest_are_chosen_of_what_is_hidden_and_no_more():
  confidence = jnp.asarray([[0.9, 0.5, 0.7, 0.7, 0.1], [0.2, 0.1, 0.0, 0.4, 0.3]])
  hidden = jnp.asarray(
    [[False, True, True, True, True], [True, True, False, False, False]]
  )
  chosen = choose_surest(confidence, hidden, jnp.asarray([1, 4]))
  assert np.flatnonzero(chosen[0]).tolist() == [2]  # of equals the left one
  assert np.flatnonzero(chosen[1]).tolist() == [0, 1]


@pytest.mark.parametrize(
  ("num_steps", "block_length", "late"), [(4, N, ()), (6, 3, ()), (4, N, (EOS, 2))]
)
def test_samples_equal_the_plain_loop(num_steps, block_length, late):
  expected = [
    low_confidence_row(image, HIDDEN[0], num_steps, block_length, late)
    for image in IMAGES[:CHECKED]
  ]
  result = ran(num_steps=num_steps, block_length=block_length, late_ids=late)
  assert (result.tokens == np.stack(expected)).all()


def test_a_block_as_long_as_the_canvas_is_no_block():
  assert (ran(num_steps=4).canvases == ran(num_steps=4, block_length=N).canvases).all()


def test_as_many_passes_as_positions_commit_one_in_each():
  hidden = (ran(num_steps=N).canvases == MASK).sum(-1)
  assert (hidden == np.arange(N)[::-1, None]).all()


def test_passes_beyond_the_positions_are_not_made():
  result = run(HIDDEN[:CHECKED].at[:, 3:].set(1), settings=SamplerSettings(num_steps=9))
  assert result.calls == 3


def test_rows_with_different_prompts_fill_their_own_blocks():
  result = ran(PROMPTED[:CHECKED], num_steps=6, block_length=3)
  expected = [
    low_confidence_row(image, row, 6, 3)
    for image, row in zip(IMAGES[1:CHECKED:2], PROMPTED[1:CHECKED:2], strict=True)
  ]
  assert (result.tokens[1::2] == np.stack(expected)).all()
  open_positions = [0, 2, 3, 4, 6, 7, 8]  # of the rows with given tokens
  hidden = (result.canvases == MASK)[:, ::2][:, :, open_positions]
  assert not hidden[1, :, :3].any() and hidden[1, :, 3:].all()
  assert not hidden[3, :, :6].any() and hidden[3, :, 6:].all()
  assert not hidden[-1].any()


def test_tokens_that_must_wait_are_committed_last_at_any_temperature():
  result = ran(HIDDEN, num_steps=N, late_ids=(EOS,), temperature=1.0)
  drawn = np.diff((result.canvases == EOS).sum(-1), axis=0, prepend=0)  # s b
  plain = ran(HIDDEN, num_steps=N, temperature=1.0)
  often = np.diff((plain.canvases == EOS).sum(-1), axis=0, prepend=0)
  assert drawn[: N // 2].sum() < 0.05 * often[: N // 2].sum()
  assert drawn[-1].sum() > 0  # what is left is committed even so


def test_random_confidence_commits_uniformly():
  result = ran(HIDDEN, num_steps=3, confidence="random")
  first = result.canvases[0] != MASK
  assert (first.sum(-1) == 3).all()
  assert abs(first.mean(0) - 1 / 3).max() < 4 * (2 / 9 / ROWS) ** 0.5
