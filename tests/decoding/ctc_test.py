"""Reading CTC: paths by hand, all prefixes by brute force, the same on the device."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding import ctc
from mdm.decoding.prefixes import best_of

CLASSES, FRAMES = 3, 5


@pytest.fixture(scope="module")
def log_probs():
  scores = 2 * jax.random.normal(jax.random.key(0), (4, FRAMES, CLASSES))
  return np.asarray(jax.nn.log_softmax(scores))


def all_texts(rows):
  """How likely each text is, over all its paths."""
  found = {}
  for path in itertools.product(range(CLASSES), repeat=len(rows)):
    text = tuple(k for k, _ in itertools.groupby(path) if k)
    score = sum(float(row[k]) for row, k in zip(rows, path, strict=True))
    found[text] = found.get(text, 0.0) + math.exp(score)
  return found


def texts_of(beam, row):
  """A row of a device's beam, as the plain search gives it."""
  return [
    (tuple(tokens[:length].tolist()), float(score))
    for tokens, length, score in zip(*(np.asarray(x[row]) for x in beam), strict=True)
    if score > -1e29
  ]


def test_greedy_merges_equal_neighbours_and_drops_blanks():
  path = np.array([[1, 1, 0, 1, 2, 2, 0, 2], [0, 0, 2, 1, 1, 1, 1, 1]])
  log_probs = np.log(np.where(np.arange(3) == path[..., None], 0.8, 0.1))
  frames = np.arange(8) < np.array([[8], [4]])
  found = ctc.decode_greedy(jnp.asarray(log_probs), jnp.asarray(frames))
  rows = [
    (t[v].tolist(), f[v].tolist())
    for t, v, f in zip(*(np.asarray(x) for x in found[:3]), strict=True)
  ]
  assert rows == [([1, 1, 2, 2], [0, 3, 4, 7]), ([2, 1], [2, 3])]
  np.testing.assert_allclose(found.score, np.log(0.8) * np.array([8, 4]), rtol=1e-6)
  assert (found.tokens[~found.valid] == 0).all()


def test_two_frames_show_that_the_likeliest_path_is_not_the_likeliest_text():
  log_probs = jnp.log(jnp.array([[[0.6, 0.4], [0.6, 0.4]]]))
  frames = jnp.ones((1, 2), bool)
  greedy = ctc.decode_greedy(log_probs, frames)
  assert not greedy.valid.any()
  assert math.exp(greedy.score[0]) == pytest.approx(0.36)
  found = best_of(ctc.decode_beam(log_probs, frames, beam=2))
  assert found.tokens[0, :2].tolist() == [1, 0] and found.valid[0].tolist() == [1, 0]
  assert math.exp(found.score[0]) == pytest.approx(0.64)


def test_a_search_over_all_prefixes_adds_up_all_paths(log_probs):
  for row in log_probs:
    wanted, found = all_texts(row), dict(ctc.search_prefixes(row))
    assert set(found) == set(wanted)
    for text, share in wanted.items():
      assert math.exp(found[text]) == pytest.approx(share, rel=1e-5)


def test_on_the_device_all_prefixes_give_the_same(log_probs):
  found = jax.jit(lambda x: ctc.decode_beam(x, jnp.ones((4, FRAMES), bool), beam=80))(
    log_probs
  )
  for row, rows in enumerate(log_probs):
    wanted, texts = all_texts(rows), texts_of(found, row)
    assert {text for text, _ in texts} == set(wanted)
    for text, score in texts:
      assert math.exp(score) == pytest.approx(wanted[text], rel=1e-4)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_narrow_beam_is_the_plain_search_of_that_width(log_probs, beam):
  length = np.array([5, 3, 1, 4])
  frames = np.arange(FRAMES) < length[:, None]
  dirty = np.where(frames[..., None], log_probs, np.nan)
  found = jax.jit(lambda x: ctc.decode_beam(x, jnp.asarray(frames), beam=beam))(dirty)
  for row, rows in enumerate(log_probs):
    wanted = ctc.search_prefixes(rows[: length[row]], beam=beam)
    texts = texts_of(found, row)
    assert [text for text, _ in texts] == [text for text, _ in wanted]
    np.testing.assert_allclose(
      [s for _, s in texts], [s for _, s in wanted], rtol=1e-4, atol=1e-5
    )


def test_the_best_text_is_no_less_likely_than_the_greedy_one(log_probs):
  frames = jnp.ones((4, FRAMES), bool)
  greedy = ctc.decode_greedy(jnp.asarray(log_probs), frames)
  for row, rows in enumerate(log_probs):
    texts = dict(ctc.search_prefixes(rows))
    text = tuple(greedy.tokens[row][greedy.valid[row]].tolist())
    assert max(texts.values()) >= texts[text] >= float(greedy.score[row]) - 1e-5


def test_a_bonus_changes_the_choice_alike_on_the_device_and_in_plain_python(log_probs):
  table = np.array([[0.0, -2.0, 0.5], [0.0, 1.5, -1.0], [0.0, 0.3, -3.0]], np.float32)

  def bonus(tokens, length):
    """What each token gains after the last one."""
    last = jnp.take_along_axis(tokens, jnp.maximum(length - 1, 0)[..., None], -1)
    return jnp.asarray(table)[jnp.where(length > 0, last[..., 0], 0)]

  found = jax.jit(
    lambda x: ctc.decode_beam(x, jnp.ones((4, FRAMES), bool), beam=4, bonus=bonus)
  )(log_probs)
  changed = 0
  for row, rows in enumerate(log_probs):
    wanted = ctc.search_prefixes(
      rows, beam=4, bonus=lambda prefix: table[prefix[-1] if prefix else 0]
    )
    texts = texts_of(found, row)
    assert [text for text, _ in texts] == [text for text, _ in wanted]
    np.testing.assert_allclose(texts[0][1], wanted[0][1], rtol=1e-4)
    changed += wanted[0][0] != ctc.search_prefixes(rows, beam=4)[0][0]
  assert changed


def test_a_text_stops_growing_at_the_greatest_length(log_probs):
  found = ctc.decode_beam(
    jnp.asarray(log_probs), jnp.ones((4, FRAMES), bool), beam=3, length=1
  )
  assert found.tokens.shape == (4, 3, 1) and (found.length <= 1).all()
  for row in range(4):
    texts = [text for text, _ in texts_of(found, row)]
    assert len(set(texts)) == len(texts) == 3


def test_another_class_can_be_blank(log_probs):
  moved, frames = np.roll(log_probs, -1, axis=-1), jnp.ones((4, FRAMES), bool)
  a = ctc.decode_greedy(jnp.asarray(moved), frames, blank=2)
  b = ctc.decode_greedy(jnp.asarray(log_probs), frames)
  np.testing.assert_array_equal(jnp.where(a.valid, a.tokens + 1, 0), b.tokens)
  for row, rows in enumerate(log_probs):
    other = ctc.search_prefixes(moved[row], beam=3, blank=2)
    wanted = ctc.search_prefixes(rows, beam=3)
    assert [tuple(k + 1 for k in text) for text, _ in other] == [t for t, _ in wanted]


@pytest.mark.parametrize("setting", [{"beam": 0}, {"length": -1}])
def test_a_search_keeps_something(setting):
  with pytest.raises(ValueError, match="keeps nothing"):
    ctc.decode_beam(jnp.zeros((1, 2, 3)), jnp.ones((1, 2), bool), **setting)
