"""Block by block with a cache: the right law, and nothing that was finished is read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import (
  EOS,
  HIDDEN,
  MASK,
  ROWS,
  TRIPLE,
  N,
  V,
  chi_square,
  make_predict,
)

from mdm.decoding.block import sample_blocks
from mdm.decoding.sample import SamplerSettings, sample
from mdm.masks.keys import example_keys, fold_keys
from mdm.masks.schedule import MaskSchedule

KEYS = example_keys(jax.random.key(0), jnp.arange(ROWS))
PLAIN = SamplerSettings(num_steps=6, keeps_history=True)
GIVEN = HIDDEN.at[::2, 1].set(4).at[::2, 5].set(EOS)
REAL = jnp.ones((ROWS, N), bool).at[::4, -2:].set(False)


def with_cache(predict):
  """A predictor as one with a cache, which holds the tokens it was given."""

  def extend(tokens, cache, start):
    cache = jax.lax.dynamic_update_slice_in_dim(cache, tokens, start, axis=1)
    logits = predict(cache, jnp.zeros(len(tokens)))
    return jax.lax.dynamic_slice_in_dim(logits, start, tokens.shape[1], axis=1), cache

  return extend


@functools.partial(jax.jit, static_argnames=("length", "sampler", "settings"))
def run(canvas, valid, *, length, sampler="ancestral", settings=PLAIN):
  return sample_blocks(
    with_cache(make_predict()), HIDDEN, canvas, KEYS, sampler, mask_id=MASK,
    block_length=length, schedule=MaskSchedule(), settings=settings, valid=valid,
  )  # fmt: skip


@functools.cache
def ran(**settings):
  return jax.tree.map(np.asarray, run(GIVEN, REAL, **settings))


@pytest.mark.parametrize(
  ("length", "sampler"), [(1, "ancestral"), (1, "low_confidence"), (3, "first_hitting")]
)
def test_true_conditionals_are_sampled_in_their_exact_law(length, sampler):
  rows = 4096
  hidden = jnp.full((rows, 3), 3)
  draw = jax.jit(
    lambda keys: sample_blocks(
      with_cache(TRIPLE.predict), hidden, hidden, keys, sampler, mask_id=3,
      block_length=length, schedule=MaskSchedule(),
      settings=SamplerSettings(num_steps=3, confidence="random"),
    )
  )  # fmt: skip
  tokens = draw(jax.random.split(jax.random.key(3), rows)).tokens
  assert chi_square(TRIPLE.count(tokens), TRIPLE.flat) < 4


@pytest.mark.parametrize("sampler", ["ancestral", "low_confidence", "remdm_cap"])
def test_one_block_is_the_sampler_itself(sampler):
  found = run(GIVEN, REAL, length=N, sampler=sampler)
  plain = sample(
    make_predict(), GIVEN, fold_keys(KEYS, 0), sampler, mask_id=MASK, settings=PLAIN,
    valid=REAL,
  )  # fmt: skip
  assert (found.tokens == plain.tokens).all()
  assert (found.canvases == plain.canvases).all()
  assert found.calls == plain.calls + 1


def test_given_tokens_and_padding_stay_and_all_else_is_filled():
  found = ran(length=3)
  is_open = (np.asarray(GIVEN) == MASK) & np.asarray(REAL)
  assert (found.tokens[is_open] < V).all()
  for canvas in found.canvases:
    assert (canvas == GIVEN)[~is_open].all()


def test_history_fills_blocks_from_the_left_and_ends_with_the_result():
  found = ran(length=3)
  assert found.canvases.shape == (6, ROWS, N)
  assert found.times.shape == (6, ROWS)
  is_open = np.asarray(GIVEN == MASK) & np.asarray(REAL)
  for i, canvas in enumerate(found.canvases):
    ready = np.arange(N) < 3 * ((i + 1) // 2)
    later = np.arange(N) >= 3 * (i // 2 + 1)
    assert (canvas == found.tokens)[:, ready].all()
    assert (canvas == MASK)[is_open & later].all()
  assert (found.canvases[-1] == found.tokens).all()


def test_a_block_depends_on_no_later_one():
  changed = run(GIVEN.at[:, 6:].set(2), REAL, length=3)
  assert (changed.tokens[:, :6] == ran(length=3).tokens[:, :6]).all()


def test_blocks_after_an_eos_are_eos_and_a_given_one_ends_nothing():
  settings = SamplerSettings(num_steps=6, eos_id=EOS)
  tokens = ran(length=3, settings=settings).tokens
  is_open = np.asarray(GIVEN == MASK) & np.asarray(REAL)
  ends = (tokens == EOS) & is_open
  for i in (3, 6):
    has_ended = ends[:, :i].any(axis=1)
    assert (tokens[has_ended, i:] == EOS)[is_open[has_ended, i:]].all()
    assert has_ended.any()
  goes_on = ~ends[:, :6].any(axis=1) & (np.asarray(GIVEN)[:, 5] == EOS)
  assert (tokens[goes_on, 6] != EOS).any()


@pytest.mark.parametrize(
  ("length", "settings", "words"),
  [
    (4, {}, "block_length = 4"),
    (3, {"block_length": 9}, "trained with blocks of 3"),
    (3, {"guidance": 1.0}, "guidance = 1.0"),
    (3, {"temperature": -1.0}, "temperature = -1.0"),
  ],
)
def test_what_it_cannot_do_is_an_error_before_compilation(length, settings, words):
  with pytest.raises(ValueError, match=words):
    run(GIVEN, REAL, length=length, settings=SamplerSettings(**settings))
