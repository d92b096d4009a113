"""CTC: closed forms, all paths by brute force, padding, alignment, posteriors."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn import ctc

CLASSES, FRAMES = 4, 5
WORDS = ([1], [1, 2], [2, 2], [3, 1, 3], [])


@functools.partial(jax.jit, static_argnames="blank")
def ask(logits, *rest, blank=0):
  """Everything at once, so that a shape is compiled once: loss, slope, alignment."""

  def cost(logits):
    found = ctc.ctc_loss(logits, *rest, blank=blank)
    return found.nats.sum(), found

  slope, found = jax.grad(cost, has_aux=True)(logits)
  posteriors = ctc.state_posteriors(logits, *rest, blank=blank)
  return found, slope, posteriors, ctc.align(logits, *rest, blank=blank)


def paths(word, frames, classes=CLASSES):
  """All labellings of the frames that say the word."""
  for path in itertools.product(range(classes), repeat=frames):
    if [k for k, _ in itertools.groupby(path) if k] == list(word):
      yield path


@pytest.fixture(scope="module")
def batch():
  """Five words over five frames, and all sums over their paths."""
  logits = jax.random.normal(jax.random.key(0), (len(WORDS), FRAMES, CLASSES))
  tokens = np.zeros((len(WORDS), 3), np.int32)
  valid = np.arange(3) < np.array([len(word) for word in WORDS])[:, None]
  for row, word in zip(tokens, WORDS, strict=True):
    row[: len(word)] = word
  frames = np.ones((len(WORDS), FRAMES), bool)
  return logits, jnp.asarray(frames), jnp.asarray(tokens), jnp.asarray(valid)


def by_hand(logits, word):
  """(log-likelihood, posteriors of states, likeliest path, its log-probability)."""
  log_probs = np.asarray(jax.nn.log_softmax(logits), np.float64)
  states, total, best = np.zeros((FRAMES, 7)), 0.0, (-np.inf, ())
  for path in paths(word, FRAMES):
    score = sum(log_probs[t, k] for t, k in enumerate(path))
    total += math.exp(score)
    best = max(best, (score, path))
    said, before = 0, 0
    for t, k in enumerate(path):
      said += bool(k and k != before)
      before = k
      states[t, 2 * said - 1 if k else 2 * said] += math.exp(score)
  return math.log(total), states / total, best[1], best[0]


def test_the_loss_is_the_sum_over_all_paths(batch):
  found = ask(*batch)[0]
  wanted = [-by_hand(row, word)[0] for row, word in zip(batch[0], WORDS, strict=True)]
  np.testing.assert_allclose(found.nats, wanted, rtol=1e-5)
  assert found.feasible.all()


@pytest.mark.parametrize(
  ("frames", "word", "classes", "wanted"),
  [(2, [1], 2, 0.287682), (4, [1, 2], 3, 1.686399), (5, [1, 1], 3, 2.785011)],
)
def test_uniform_scores_have_the_closed_form(frames, word, classes, wanted):
  repeats = sum(a == b for a, b in itertools.pairwise(word))
  count = math.comb(frames + len(word) - repeats, 2 * len(word))
  nats = jax.jit(ctc.ctc_loss)(
    jnp.full((1, frames, classes), 0.7),
    jnp.ones((1, frames), bool),
    jnp.array([word]),
    jnp.ones((1, len(word)), bool),
  ).nats[0]
  assert nats == pytest.approx(frames * math.log(classes) - math.log(count), rel=1e-5)
  assert nats == pytest.approx(wanted, abs=2e-6)


def test_another_class_can_be_blank(batch):
  logits, frames, tokens, valid = batch
  moved = jnp.roll(logits, -1, axis=-1)  # class k is now k - 1, blank the last
  found, slope, posteriors, aligned = ask(
    moved, frames, tokens - 1, valid, blank=CLASSES - 1
  )
  np.testing.assert_allclose(found.nats, ask(*batch)[0].nats, rtol=1e-6)
  np.testing.assert_allclose(jnp.roll(slope, 1, -1), ask(*batch)[1], atol=1e-6)
  np.testing.assert_allclose(posteriors, ask(*batch)[2], atol=1e-6)
  np.testing.assert_array_equal(aligned.token, ask(*batch)[3].token)


def test_padding_changes_no_value_and_no_slope_whatever_stands_in_it(batch):
  logits, frames, tokens, valid = batch
  rows = ((0, 0), (0, 4))
  garbage = jnp.pad(logits, (*rows, (0, 0)), constant_values=jnp.nan)
  long = (jnp.pad(frames, rows), jnp.pad(tokens, rows, constant_values=2))
  padded = ask(garbage, *long, jnp.pad(valid, rows))
  loss, slope, posteriors, aligned = ask(*batch)
  np.testing.assert_allclose(padded[0].nats, loss.nats, rtol=1e-6)
  np.testing.assert_allclose(padded[1][:, :FRAMES], slope, atol=1e-6)
  assert (padded[1][:, FRAMES:] == 0).all()
  np.testing.assert_allclose(padded[2][:, :FRAMES, :7], posteriors, atol=1e-6)
  assert padded[2].sum() == pytest.approx(float(posteriors.sum()), rel=1e-6)
  np.testing.assert_array_equal(padded[3].token[:, :FRAMES], aligned.token)
  assert (padded[3].token[:, FRAMES:] == -1).all()


@pytest.mark.parametrize("word", [[1, 2, 3], [2, 2]])
def test_a_transcript_that_needs_more_frames_costs_nothing_and_is_reported(word):
  length, n = 2, 3
  tokens = jnp.array([word + [0] * (n - len(word)), [1, 0, 0]])
  valid = jnp.array([[i < len(word) for i in range(n)], [True, False, False]])
  frames = jnp.arange(4) < jnp.array([[length], [length]])
  logits = jax.random.normal(jax.random.key(1), (2, 4, CLASSES))
  assert int(ctc.frames_needed(tokens, valid)[0]) == 3
  found, slope, posteriors, aligned = ask(logits, frames, tokens, valid)
  assert found.feasible.tolist() == [False, True]
  assert found.nats[0] == 0 and found.nats[1] > 0
  assert (slope[0] == 0).all() and (slope[1, :length] != 0).all()
  assert (aligned.token[0] == -1).all() and aligned.score[0] == 0
  assert (posteriors[0] == 0).all()


def test_rounding_makes_no_loss_negative():
  sure = np.zeros((1, 6, 3), np.float32)
  sure[:, :, 0], sure[:, 2, 1] = 40.0, 80.0
  tokens, valid = jnp.array([[1]]), jnp.ones((1, 1), bool)
  for shift in (0.0, 1e3, -1e3):
    nats = ask(sure + shift, jnp.ones((1, 6), bool), tokens, valid)[0].nats
    assert 0 <= nats[0] < 1e-3


def test_scores_of_few_bits_are_summed_in_float32(batch):
  logits, *rest = batch
  half = logits.astype(jnp.bfloat16)
  wanted = ask(half.astype(jnp.float32), *rest)[0].nats
  found = jax.jit(ctc.ctc_loss)(half, *rest).nats
  np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_an_empty_clip_says_nothing_at_no_cost():
  no_frames = jnp.zeros((2, 3), bool)
  tokens, valid = jnp.ones((2, 2), int), jnp.array([[False] * 2, [True, False]])
  found, slope, _, aligned = ask(jnp.ones((2, 3, 4)), no_frames, tokens, valid)
  assert found.feasible.tolist() == [True, False] and (found.nats == 0).all()
  assert (aligned.score == 0).all() and (slope == 0).all()


def test_posteriors_are_shares_of_all_paths(batch):
  found = ask(*batch)[2]
  for row, logits, word in zip(found, batch[0], WORDS, strict=True):
    np.testing.assert_allclose(row, by_hand(logits, word)[1], atol=1e-5)
  np.testing.assert_allclose(found.sum(-1), 1.0, rtol=1e-5)


def test_the_alignment_is_the_likeliest_path_and_scores_as_it(batch):
  loss, _, _, found = ask(*batch)
  for row, score, logits, word in zip(
    found.token, found.score, batch[0], WORDS, strict=True
  ):
    _, _, path, best = by_hand(logits, word)
    said = [-1 if i < 0 else word[i] for i in row.tolist()]
    assert said == [k or -1 for k in path]
    assert float(score) == pytest.approx(best, rel=1e-5)
  assert (found.score <= -loss.nats + 1e-6).all()


def test_tokens_begin_in_the_first_frame_that_says_them(batch):
  found = ask(*batch)[3]
  frames = np.asarray(ctc.token_frames(found, 3))
  for row, token, valid in zip(frames, np.asarray(found.token), batch[3], strict=True):
    for i, begin in enumerate(row.tolist()):
      assert begin == (token.tolist().index(i) if valid[i] else -1)
