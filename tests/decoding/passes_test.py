"""What every sampler promises, whatever its rule."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import EOS, HIDDEN, IMAGES, MASK, ROWS, N, V, make_predict

from mdm.decoding.sample import SAMPLERS, SamplerSettings, sample
from mdm.decoding.settings import REVISING
from mdm.masks.keys import example_keys
from mdm.masks.schedule import MaskSchedule

KEYS = example_keys(jax.random.key(0), jnp.arange(ROWS))
LINEAR = MaskSchedule()
STEPS = 5
PLAIN = SamplerSettings(num_steps=STEPS, keeps_history=True)
# Half of the rows have given tokens, and padding at their end.
GIVEN = HIDDEN.at[::2, 1].set(4).at[::2, 5].set(EOS)
REAL = jnp.ones((ROWS, N), bool).at[::4, -2:].set(False)


@functools.partial(jax.jit, static_argnames=("sampler", "settings", "schedule"))
def run(images, keys, canvas, valid, *, sampler, settings, schedule=LINEAR):
  return sample(
    make_predict(images),
    canvas,
    keys,
    sampler,
    mask_id=MASK,
    schedule=schedule,
    settings=settings,
    valid=valid,
  )


def ran(sampler, settings=PLAIN, canvas=GIVEN, valid=REAL, **named):
  result = run(IMAGES, KEYS, canvas, valid, sampler=sampler, settings=settings, **named)
  return jax.tree.map(np.asarray, result)


everywhere = functools.cache(ran)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_all_real_positions_are_filled_and_nothing_else_changes(sampler):
  result, given = everywhere(sampler), np.asarray(GIVEN)
  assert ((result.tokens >= 0) & (result.tokens < V))[REAL].all()
  assert (result.tokens[~REAL] == given[~REAL]).all()
  for canvas in result.canvases:
    assert (canvas == given)[(given != MASK) | ~np.asarray(REAL)].all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_row_is_sampled_alike_among_other_rows(sampler):
  order = np.random.default_rng(1).permutation(ROWS)
  images = IMAGES[order].at[ROWS // 2 :].add(1.0)  # and half of the others change
  turned = run(
    images, KEYS[order], GIVEN[order], REAL[order], sampler=sampler, settings=PLAIN
  )
  kept = order[: ROWS // 2]
  assert (turned.tokens[: ROWS // 2] == everywhere(sampler).tokens[kept]).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_history_ends_with_the_sample_and_times_fall(sampler):
  result = everywhere(sampler)
  assert (result.canvases[-1] == result.tokens).all()
  assert result.times.shape == result.canvases.shape[:2]
  assert (np.diff(result.times, axis=0) <= 1e-6).all()
  if sampler in REVISING:
    return
  before, after = result.canvases[:-1], result.canvases[1:]
  assert ((before == after) | (before == MASK)).all()


@pytest.mark.parametrize("sampler", ["ancestral", "remdm_cap"])
def test_reusing_logits_changes_calls_and_nothing_else(sampler):
  """Few rows and many passes, so that some passes change nothing."""
  settings = SamplerSettings(num_steps=60)
  few = (IMAGES[:2], KEYS[:2], HIDDEN[:2], REAL[:2])
  plain = run(*few, sampler=sampler, settings=settings)
  again = run(
    *few, sampler=sampler, settings=dataclasses.replace(settings, caches=True)
  )
  assert (plain.tokens == again.tokens).all()
  assert again.calls < plain.calls / 1.5
  assert plain.calls <= 60


def test_the_loop_ends_with_the_last_hidden_position():
  known = HIDDEN * 0 + 3
  one = ran("ancestral", canvas=known.at[0, 0].set(MASK))
  assert one.calls == 1 + (one.canvases[:, 0, 0] == MASK).sum()
  assert ran("ancestral", canvas=known).calls == 0
  assert everywhere("remdm_cap").calls == STEPS


def test_what_a_schedule_leaves_hidden_is_filled_with_the_likeliest():
  schedule = MaskSchedule(high=0.5)
  result = ran("ancestral", PLAIN, HIDDEN, schedule=schedule)
  before = result.canvases[-2]  # the last pass of the rule has been overwritten
  assert result.calls == STEPS + 1
  assert (result.tokens[np.asarray(REAL)] != MASK).all()
  assert 0.5 < (before == MASK)[np.asarray(REAL)].mean() < 0.7


def test_a_row_ends_with_its_first_eos():
  settings = SamplerSettings(
    num_steps=N, block_length=1, eos_id=EOS, keeps_history=True
  )
  result = ran("ancestral", settings)
  free = (np.asarray(GIVEN) == MASK) & np.asarray(REAL)
  is_end = (result.tokens == EOS) & free
  is_after = (np.cumsum(is_end, axis=-1) - is_end) > 0
  assert is_after.any() and not is_after.all()
  assert (result.tokens[is_after & free] == EOS).all()
  # A given EOS ends nothing: something else stands after those of the even rows.
  first = np.cumsum(is_end, axis=-1)[:, 5] == 0
  assert (result.tokens[::2][first[::2]][:, 6] != EOS).any()
  # The rest of a row is filled in the very pass that reads its EOS.
  is_read = (result.canvases != MASK) | ~free
  ends = (result.canvases == EOS) & free
  assert is_read.all(-1)[ends.any(-1)].all()


def test_tokens_to_avoid_are_never_drawn_and_no_history_is_kept_unasked():
  result = ran("ancestral", SamplerSettings(num_steps=2, never_ids=(EOS, 3)), HIDDEN)
  assert not np.isin(result.tokens, [EOS, 3]).any()
  assert result.canvases.shape == (0, ROWS, N) and result.times.shape == (0, ROWS)


def heard_times(sampler, settings, canvas=HIDDEN[:2]):
  heard = []

  def predict(tokens, t):
    jax.debug.callback(lambda t: heard.append(np.asarray(t)), t)
    return make_predict(IMAGES[:2])(tokens, t)

  result = sample(predict, canvas, KEYS[:2], sampler, mask_id=MASK, settings=settings)
  jax.effects_barrier()
  return np.stack(heard), result


def test_the_predictor_hears_the_grids_times():
  settings = SamplerSettings(num_steps=4, grid="cosine")
  heard, _ = heard_times("remdm_cap", settings)
  expected = np.sin(np.pi / 2 * np.asarray([1, 0.75, 0.5, 0.25]))
  np.testing.assert_allclose(heard, expected[:, None].repeat(2, 1), rtol=1e-6)


def test_in_blocks_the_predictor_hears_the_hidden_share_of_the_whole():
  settings = SamplerSettings(num_steps=9, block_length=3, keeps_history=True)
  heard, result = heard_times("remdm_cap", settings, HIDDEN[:2].at[:, :3].set(1))
  canvases = np.concatenate([HIDDEN[None, :2, 3:], result.canvases[:-1, :, 3:]])
  np.testing.assert_allclose(heard, (canvases == MASK).mean(-1), rtol=1e-6)


def test_the_number_of_passes_does_not_grow_the_program():
  traced = []

  def predict(tokens, t):
    traced.append(1)
    return make_predict(IMAGES[:1])(tokens, t)

  settings = SamplerSettings(num_steps=500)
  sample(predict, HIDDEN[:1], KEYS[:1], mask_id=MASK, settings=settings)
  assert len(traced) <= 3
