"""From left to right with a cache, on a distribution that is known."""

import functools

import jax
import jax.numpy as jnp
import pytest
from decoding.lookup import TRIPLE, chi_square

from mdm.decoding.causal import sample_causal
from mdm.decoding.settings import SamplerSettings

ROWS, MASK = 4096, 3
HIDDEN = jnp.full((ROWS, 3), MASK)
KEYS = jax.random.split(jax.random.key(3), ROWS)


def extend(tokens, cache, start, valid=None):
  """The scores of positions from `start`, after the tokens before them are shown."""
  place = start - 1 + jnp.arange(tokens.shape[1])  # of what is read; -1: the first's
  place = jnp.where(place < 0, 3, place)
  tokens = tokens if valid is None else jnp.where(valid, tokens, cache[:, place])
  shown = cache.at[:, place].set(tokens, mode="drop")
  logits = TRIPLE.predict(shown, None)
  return jax.lax.dynamic_slice_in_dim(logits, start, tokens.shape[1], axis=1), shown


@functools.partial(jax.jit, static_argnames=("settings", "reads_ahead"))
def run(canvas, settings, reads_ahead=True):
  return sample_causal(
    extend, HIDDEN, canvas, KEYS,
    mask_id=MASK, settings=settings, reads_ahead=reads_ahead,
  )  # fmt: skip


@functools.cache
def plain():
  return run(HIDDEN, SamplerSettings(keeps_history=True))


def test_true_conditionals_are_sampled_in_their_exact_law():
  assert chi_square(TRIPLE.count(plain().tokens), TRIPLE.flat) < 4


def test_a_given_beginning_stays_and_is_continued_by_its_law():
  tokens = run(HIDDEN.at[:, 0].set(2), SamplerSettings(keeps_history=True)).tokens
  probs = TRIPLE.flat.copy()
  probs[:18] = 0
  counts = TRIPLE.count(tokens)
  assert counts[:18].sum() == 0
  assert chi_square(counts[18:], probs[18:] / probs.sum()) < 4


@pytest.mark.parametrize("given", [0, 1, 2, 3])
def test_what_all_rows_are_given_is_read_in_one_pass(given):
  canvas = HIDDEN.at[:, :given].set(1).at[::2, :2].set(1)  # half of the rows has more
  found, plain = (run(canvas, SamplerSettings(), m) for m in (True, False))
  assert (found.tokens == plain.tokens).all()
  assert plain.calls == 3
  assert found.calls == 3 - given + (given > 0)


def test_history_shows_one_token_more_after_each_pass():
  found = plain()
  assert found.times[:, 0].tolist() == pytest.approx([1, 2 / 3, 1 / 3])
  for i, canvas in enumerate(found.canvases):
    assert (canvas == jnp.where(jnp.arange(3) <= i, found.tokens, MASK)).all()


def test_the_loop_stops_when_every_row_has_ended():
  found = run(HIDDEN, SamplerSettings(eos_id=1, never_ids=(0, 2)))
  assert (found.tokens == 1).all()
  assert found.calls == 1


def test_given_tokens_after_hidden_ones_are_an_error():
  with pytest.raises(ValueError, match="row 5 of the canvas"):
    sample_causal(
      extend, HIDDEN, HIDDEN.at[5, 2].set(0), KEYS, mask_id=MASK,
      settings=SamplerSettings(),
    )  # fmt: skip
