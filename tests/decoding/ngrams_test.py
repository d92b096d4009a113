"""N-grams: counts by hand, sums of 1, contexts of both forms, a search they change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding.ctc import decode_beam, search_prefixes
from mdm.decoding.ngrams import fit_ngrams, make_bonus, make_gains

TEXTS = ((0, 1, 0), (0, 1), (2,))
V = 3


def by_hand(context, token, order, a=2.0):
  """The equation, a text at a time."""
  if order == 1:
    said = [t for text in TEXTS for t in text]
    return (said.count(token) + 1) / (len(said) + V)
  grams = [
    tuple(([V] * (order - 1) + list(text))[i : i + order])
    for text in TEXTS
    for i in range(len(text))
  ]
  lower = by_hand(context[1:], token, order - 1, a)
  seen = sum(gram[:-1] == context for gram in grams)
  return (grams.count((*context, token)) + a * lower) / (seen + a)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_are_those_of_the_equations_and_sum_to_1(order):
  found = fit_ngrams(TEXTS, V, order=order)
  assert found.log_probs.shape == ((V + 1) ** (order - 1), V)
  np.testing.assert_allclose(np.exp(found.log_probs).sum(-1), 1, rtol=1e-6)
  for number, row in enumerate(found.log_probs):
    context = np.unravel_index(number, (V + 1,) * (order - 1)) if order > 1 else ()
    wanted = [by_hand(tuple(int(c) for c in context), t, order) for t in range(V)]
    np.testing.assert_allclose(np.exp(row), wanted, rtol=1e-6)


def test_a_prefix_is_continued_by_its_last_tokens_alone():
  ngrams = fit_ngrams(TEXTS, V, order=3)
  tokens = jnp.array([[[0, 1, 9], [2, 0, 1], [0, 9, 9], [9, 9, 9]]])
  length = jnp.array([[2, 3, 1, 0]])
  found = np.asarray(make_bonus(ngrams, weight=0.5, gain=0.1)(tokens, length))
  contexts = ((0, 1), (0, 1), (V, 0), (V, V))
  for i, (row, context) in enumerate(zip(found[0], contexts, strict=True)):
    wanted = [0.5 * np.log(by_hand(context, t, 3)) + 0.1 for t in range(V)]
    np.testing.assert_allclose(row, [*wanted, 0.0], rtol=1e-5)
    prefix = tuple(tokens[0, i, : length[0, i]].tolist())
    plain = make_gains(ngrams, weight=0.5, gain=0.1)(prefix)
    np.testing.assert_allclose(plain, row, rtol=1e-6)


def test_a_search_prefers_what_was_read():
  log_probs = np.log(np.array([[0.5, 0.01, 0.02, 0.47], [0.01, 0.32, 0.33, 0.34]]))
  ngrams = fit_ngrams([(0, 1)] * 50, V, order=2)
  free = search_prefixes(log_probs, beam=4, blank=V)[0][0]
  plain = search_prefixes(
    log_probs, beam=4, blank=V, bonus=make_gains(ngrams, gain=0.5)
  )
  found = jax.jit(
    lambda x: decode_beam(
      x, jnp.ones((1, 2), bool), beam=4, blank=V, bonus=make_bonus(ngrams, gain=0.5)
    )
  )(log_probs[None])
  assert plain[0][0] == (0, 1) != free
  assert found.tokens[0, 0].tolist() == [0, 1] and found.length[0, 0] == 2
  assert float(found.score[0, 0]) == pytest.approx(plain[0][1], rel=1e-4)


@pytest.mark.parametrize(
  ("texts", "settings", "error"),
  [
    (TEXTS, {"order": 0}, "order = 0"),
    (TEXTS, {"order": 40}, "choose another order"),
    (((0, 3),), {}, "ids outside 0 .. 2"),
  ],
)
def test_what_has_no_table_is_named(texts, settings, error):
  with pytest.raises(ValueError, match=error):
    fit_ngrams(texts, V, **settings)
