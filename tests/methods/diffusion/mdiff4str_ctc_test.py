import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.methods.diffusion.mdiff4str_ctc import MDiff4STRCTC, ctc_nats, place_letters
from mdm.nn.columns import Columns
from mdm.nn.transformer import CrossDecoder

LETTERS, CANVAS, COLUMNS = 3, 5, 6


@pytest.fixture(scope="module")
def reader():
  method = MDiff4STRCTC(
    encoder=Columns(width=16, depth=1, heads=2, window=4, stride=4),
    decoder=CrossDecoder(depth=1, heads=2, dropout=0.0),
    num_characters=LETTERS,
    canvas=CANVAS,
    copies=1,
    ctc_weight=2.0,
    ctc_steps=10,
  )
  image = jax.random.randint(jax.random.key(0), (2, 8, 24, 1), 0, 255).astype("uint8")
  tokens = jnp.array([[1, 2, 0, 5, 5], [3, 3, 1, 0, 5]])
  batch = {
    "image": image,
    "tokens": tokens,
    "valid": tokens < 5,
    "index": jnp.arange(2),
    "weight": jnp.ones(2),
  }
  keys = {"params": jax.random.key(1), "mask": jax.random.key(2)}
  variables = method.init(keys, batch, train=False)
  apply = jax.jit(
    lambda batch: method.apply(
      variables, batch, train=False, rngs={"mask": jax.random.key(3)}
    )
  )
  return method, variables, batch, apply


def _brute_force(scores, word):
  """Sum over all column labellings that collapse to the word."""
  log_probs = np.asarray(jax.nn.log_softmax(scores))
  total = -np.inf
  for path in itertools.product(range(scores.shape[1]), repeat=scores.shape[0]):
    merged = [k for k, _ in itertools.groupby(path)]
    if [k for k in merged if k] == word:
      total = np.logaddexp(total, sum(log_probs[i, k] for i, k in enumerate(path)))
  return -total


@pytest.mark.parametrize("word", [[1], [1, 2], [2, 2], [3, 1, 3]])
def test_loss_equals_the_sum_over_all_alignments(word):
  scores = jax.random.normal(jax.random.key(4), (1, 5, LETTERS + 1))
  tokens = np.full((1, CANVAS), LETTERS + 2)
  tokens[0, : len(word) + 1] = [*word, 0]
  valid = np.arange(CANVAS)[None] <= len(word)
  nats = ctc_nats(scores, jnp.asarray(tokens), jnp.asarray(valid))
  expected = _brute_force(scores[0], word) / (len(word) + 1)
  assert float(nats[0]) == pytest.approx(expected, rel=1e-4)  # optax's finite log 0


def test_padding_of_the_label_changes_nothing():
  scores = jax.random.normal(jax.random.key(5), (1, 6, LETTERS + 1))
  short = jnp.array([[2, 1, 0]]), jnp.ones((1, 3), bool)
  long = jnp.array([[2, 1, 0, 5, 4]]), jnp.array([[True, True, True, False, False]])
  assert float(ctc_nats(scores, *short)[0]) == pytest.approx(
    float(ctc_nats(scores, *long)[0]), rel=1e-6
  )


def test_columns_of_a_certain_spelling_get_their_letters_number():
  path = [0, 1, 1, 0, 2, 2, 3, 0, 3]  # - a a - b b c - c
  scores = 50.0 * jax.nn.one_hot(jnp.array([path]), LETTERS + 1)
  places = np.asarray(place_letters(scores, CANVAS))[0]
  assert places[0].sum() == pytest.approx(0.0, abs=1e-5)  # before the first letter
  assert places[1:].argmax(-1).tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
  np.testing.assert_allclose(places[1:].sum(-1), 1.0, atol=1e-5)


def test_an_uncertain_index_is_shared_between_two_positions():
  scores = jnp.log(jnp.array([[[0.5, 0.5, 1e-9, 1e-9], [1e-9, 1e-9, 1.0, 1e-9]]]))
  places = np.asarray(place_letters(scores, 3))[0]  # indices -0.5 and 0.5
  np.testing.assert_allclose(places[0], [0.5, 0.0, 0.0], atol=1e-4)
  np.testing.assert_allclose(places[1], [0.5, 0.5, 0.0], atol=1e-4)


def test_weight_falls_linearly_to_zero(reader):
  *_, batch, apply = reader
  at = [float(apply(batch | {"step": jnp.int32(s)})["loss/ctc"].total)
        for s in (0, 5, 10, 50)]  # fmt: skip
  assert at[1] == pytest.approx(at[0] / 2) and at[0] > 0
  assert at[2] == at[3] == 0


def test_rows_without_weight_do_not_count(reader):
  *_, batch, apply = reader
  first = apply(batch | {"weight": jnp.array([1.0, 0.0])})["loss/ctc"]
  second = apply(batch | {"weight": jnp.array([0.0, 1.0])})["loss/ctc"]
  both = apply(batch)["loss/ctc"]
  assert float(first.weight) == 1 and float(both.weight) == 2
  assert float(first.total + second.total) == pytest.approx(float(both.total), rel=1e-6)


def test_letter_index_sends_no_gradient_to_the_classifier(reader):
  method, variables, batch, _ = reader

  def memory_norm(params):
    memory = method.apply({"params": params}, batch, method="encode")
    return (memory**2).sum()

  grads = jax.grad(memory_norm)(variables["params"])
  norms = jax.tree.map(lambda g: float(jnp.abs(g).sum()), grads)
  assert max(jax.tree.leaves(norms["spell"])) == 0
  assert max(jax.tree.leaves(norms["encoder"])) > 0


def test_it_predicts_like_any_reader(reader):
  method, variables, batch, _ = reader
  decoded = method.apply(variables, batch, method="predict")
  assert decoded.tokens.shape == (2, CANVAS)
  assert ((decoded.confidence >= 0) & (decoded.confidence <= 1)).all()
