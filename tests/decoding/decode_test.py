"""Every decoder against a plain loop, and what all of them promise."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding import lookup
from decoding.lookup import EOS, HIDDEN, IMAGES, MASK, ROWS, N, V, make_predict

from mdm.decoding.confidence import block_window
from mdm.decoding.decode import DECODERS, decode
from mdm.masks.keys import example_keys


@functools.partial(jax.jit, static_argnames=("decoder", "num_steps", "final_reflect"))
def run(images, index, canvas, *, decoder, num_steps=3, final_reflect=False):
  return decode(
    make_predict(images),
    canvas,
    decoder,
    mask_id=MASK,
    num_steps=num_steps,
    keys=example_keys(jax.random.key(0), index),
    final_reflect=final_reflect,
  )


@functools.cache
def decoded(decoder, num_steps=3, *, final_reflect=False):
  result = run(
    IMAGES,
    jnp.arange(ROWS),
    HIDDEN,
    decoder=decoder,
    num_steps=num_steps,
    final_reflect=final_reflect,
  )
  return jax.tree.map(np.asarray, result)


def decode_with(predict, decoder, rows=1, **settings):
  canvas = jnp.full((rows, N), MASK, jnp.int32)
  return decode(predict, canvas, decoder, mask_id=MASK, **settings)


def test_parallel_decoding_is_one_reading_cut_at_the_eos():
  probs = [lookup.read(image, HIDDEN[0]) for image in IMAGES]
  expected = [lookup.cut(np.asarray(row)) for row in probs]
  assert (decoded("pd").tokens == np.stack(expected)).all()


@pytest.mark.parametrize("num_steps", [3, 8])
def test_low_confidence_decoding_equals_the_plain_loop(num_steps):
  expected = [lookup.reveal_row(image, num_steps) for image in IMAGES]
  assert (decoded("lc", num_steps).tokens == np.stack(expected)).all()


@pytest.mark.parametrize("num_steps", [2, 3, 5])
def test_block_decoding_equals_the_plain_loop(num_steps):
  def window(step):
    if num_steps <= 2:
      return np.ones(N, bool)
    block, position = N // num_steps, np.arange(N)
    if step <= 2:
      return position < block * (step + 1)
    if step >= num_steps - 2:
      return position >= block * (step - 1)
    return (position >= block * (step - 1)) & (position < block * (step + 1))

  expected = [lookup.reveal_row(image, num_steps, window) for image in IMAGES]
  assert (decoded("blc", num_steps).tokens == np.stack(expected)).all()


def test_block_windows_of_the_published_canvas():
  windows = [np.flatnonzero(block_window(jnp.array(i), 26, 6)) for i in range(6)]
  ends = [(int(w[0]), int(w[-1]) + 1) for w in windows]
  assert ends == [(0, 4), (0, 8), (0, 12), (8, 16), (12, 26), (16, 26)]


def test_autoregressive_decoding_equals_the_plain_loop():
  expected = [lookup.autoregressive_row(image) for image in IMAGES]
  assert (decoded("ar").tokens == np.stack(expected)).all()


def test_cloze_refinement_equals_the_plain_loop():
  expected = [lookup.cloze_row(image) for image in IMAGES]
  assert (decoded("cloze").tokens == np.stack(expected)).all()


def test_one_pass_of_low_confidence_is_parallel_decoding_bit_for_bit():
  lc, pd = decoded("lc", 1), decoded("pd")
  for name in ("tokens", "confidence", "valid", "probs"):
    assert (getattr(lc, name) == getattr(pd, name)).all()


def test_autoregressive_equals_parallel_when_positions_do_not_see_each_other():
  table = jnp.asarray(np.random.default_rng(0).normal(size=(16, N, V)), jnp.float32)
  predict = lambda tokens, t: table  # noqa: E731
  ar, pd = (decode_with(predict, name, rows=16) for name in ("ar", "pd"))
  assert (ar.tokens == pd.tokens).all()
  assert (ar.confidence == pd.confidence).all()


@pytest.mark.parametrize("decoder", ["ar", "lc", "blc", "random"])
def test_committed_tokens_never_change(decoder):
  canvases = decoded(decoder, 6).canvases
  before, after = canvases[:-1], canvases[1:]
  assert ((before == after) | (before == MASK)).all()


@pytest.mark.parametrize("decoder", ["ar", "lc", "blc", "random"])
def test_committed_tokens_are_what_is_read_in_the_end(decoder):
  result = decoded(decoder, 6)
  is_kept = (result.canvases[-1] != MASK) & result.valid
  assert (result.tokens == result.canvases[-1])[is_kept].all()


def test_low_confidence_commits_in_every_pass_that_can_choose():
  canvases = np.concatenate([np.asarray(HIDDEN)[None], decoded("lc", 6).canvases])
  num_checked = 0
  for row in range(ROWS):
    for before, after in itertools.pairwise(canvases[:, row]):
      guess = np.asarray(lookup.read(IMAGES[row], before)).argmax(-1)
      until_eos = lookup.until_eos(guess)
      if ((after == MASK) & until_eos).sum() <= 1:
        break  # the row stops after one more pass
      if ((before == MASK) & until_eos).sum() > 1:
        num_checked += 1
        assert (before != after).any()
  assert num_checked > ROWS // 2


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_row_is_read_alike_alone_and_among_others(decoder):
  order = np.random.default_rng(1).permutation(ROWS)
  shuffled = run(
    IMAGES[order], jnp.asarray(order), HIDDEN, decoder=decoder, num_steps=6
  )
  alone = run(IMAGES[3:4], jnp.array([3]), HIDDEN[:1], decoder=decoder, num_steps=6)
  full = decoded(decoder, 6)
  assert (np.asarray(shuffled.tokens) == full.tokens[order]).all()
  assert (np.asarray(shuffled.canvases) == full.canvases[:, order]).all()
  assert (np.asarray(alone.tokens) == full.tokens[3:4]).all()


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_row_without_eos_is_read_to_its_end(decoder):
  predict = make_predict(eos_bias=-1e9)
  keys = example_keys(jax.random.key(0), jnp.arange(ROWS))
  result = decode_with(predict, decoder, rows=ROWS, keys=keys)
  assert result.valid.all()
  assert (result.tokens != MASK).all()
  assert (result.canvases != MASK).any(axis=(0, 2)).all()


@pytest.mark.parametrize("decoder", ["lc", "blc"])
@pytest.mark.parametrize("favourite", [0, 1])
def test_ties_and_empty_choices_commit_nothing_and_stay_finite(decoder, favourite):
  logits = jnp.zeros((2, N, V)).at[..., favourite].set(3.0)
  result = decode_with(lambda tokens, t: logits, decoder, rows=2, num_steps=4)
  assert (result.canvases == MASK).all()
  assert np.isfinite(result.confidences).all()
  assert (result.tokens[:, 0] == favourite).all()


def test_cloze_goes_on_until_the_eos_itself_was_read_again():
  """Parallel reading ends too early; only with its letter seen is the EOS moved."""

  def predict(tokens, t):
    is_start = (tokens == MASK).all(axis=-1, keepdims=True)
    answer = jnp.array([1, 2, EOS] + [3] * (N - 3))
    longer = jnp.array([1, 2, 4, EOS] + [3] * (N - 4))
    return jax.nn.one_hot(jnp.where(is_start, answer, longer), V) * 9

  result = decode_with(predict, "cloze")
  assert result.tokens[0].tolist() == [1, 2, 4, EOS] + [MASK] * (N - 4)


def test_confidence_is_the_probability_of_each_character_up_to_the_eos():
  result = decoded("lc")
  best = result.probs.max(-1)
  assert (result.confidence[result.valid] == best[result.valid]).all()
  assert (result.confidence[~result.valid] == 0).all()
  assert (result.tokens[~result.valid] == MASK).all()
  ends = (result.tokens == EOS) & result.valid
  assert (ends.sum(-1) == (result.tokens == EOS).any(-1)).all()


@pytest.mark.parametrize(
  ("decoder", "passes"),
  [("pd", 1), ("lc", 3), ("blc", 3), ("random", 3), ("ar", N), ("cloze", N + 1)],
)
def test_history_holds_one_canvas_and_its_confidences_per_pass(decoder, passes):
  result = decoded(decoder)
  assert result.canvases.shape == result.confidences.shape == (passes, ROWS, N)
  reflected = decoded(decoder, final_reflect=True)
  assert reflected.canvases.shape == (passes + 1, ROWS, N)
  assert (reflected.canvases[-1] == reflected.tokens).all()


def test_random_commits_about_half_of_the_valid_positions():
  predict = make_predict(eos_bias=-1e9)
  keys = example_keys(jax.random.key(0), jnp.arange(ROWS))
  first = decode_with(predict, "random", rows=ROWS, keys=keys).canvases[0] != MASK
  assert abs(first.mean() - 0.5) < 4 * (0.25 / (ROWS * N)) ** 0.5


def test_the_predictor_hears_the_share_still_hidden():
  heard = []

  def predict(tokens, t):
    jax.debug.callback(lambda t: heard.append(t.tolist()), t)
    return make_predict(IMAGES[:2], eos_bias=-1e9)(tokens, t)

  result = decode_with(predict, "lc", rows=2)
  jax.effects_barrier()
  shares = (np.asarray(result.canvases)[:2] == MASK).mean(-1)
  np.testing.assert_allclose(heard, [[1, 1], *shares], rtol=1e-6)


def test_the_number_of_passes_does_not_grow_the_program():
  traced = []

  def predict(tokens, t):
    traced.append(1)
    return make_predict(IMAGES[:1])(tokens, t)

  decode_with(predict, "lc", num_steps=500)
  assert len(traced) <= 3


@pytest.mark.parametrize("decoder", DECODERS)
def test_given_tokens_are_kept(decoder):
  canvas = HIDDEN.at[:, 1].set(4).at[:, 3].set(2)
  result = run(IMAGES, jnp.arange(ROWS), canvas, decoder=decoder)
  assert (result.canvases[:, :, [1, 3]] == jnp.array([4, 2])).all()
  assert (result.probs[:, 1, 4] == 1).all()


def test_the_default_is_low_confidence_in_three_passes():
  parameters = inspect.signature(decode).parameters
  assert parameters["decoder"].default == "lc"
  assert parameters["num_steps"].default == 3


def test_temperature_changes_confidence_and_not_one_reading():
  cool, warm = (
    decode_with(make_predict(), "pd", rows=ROWS, temperature=t) for t in (1, 5.0)
  )
  assert (cool.tokens == warm.tokens).all()
  assert (cool.confidence[cool.valid] > warm.confidence[cool.valid]).all()


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"decoder": "cloz"}, "did you mean 'cloze'"),
    ({"decoder": "lc", "num_steps": 0}, "num_steps = 0 must be at least 1"),
    ({"decoder": "lc", "temperature": -1.0}, "temperature = -1.0 must be above 0"),
    ({"decoder": "random"}, "give it a key"),
  ],
)
def test_impossible_settings_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    decode_with(make_predict(), **settings)
