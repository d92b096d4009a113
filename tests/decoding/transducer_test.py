"""Reading a transducer: a network of tables, all alignments by brute force."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding import transducer
from mdm.decoding.prefixes import best_of

CLASSES, FRAMES, LENGTH = 3, 3, 3


def network(table, calls=None):
  """Scores that depend on the frame and, in order, on all tokens said."""

  def step(token, state):
    if calls is not None:
      calls.append(np.asarray(token).tolist())
    state = jnp.where(token == 0, state, state * 3 + token)  # a text's number
    return jax.nn.one_hot(state % table.shape[1], table.shape[1]), state

  def score(encoded, predicted):
    scores = jnp.einsum("rf,fsv,rs->rv", encoded, table, predicted)
    return jax.nn.log_softmax(scores)

  return transducer.Network(lambda rows: jnp.zeros(rows, jnp.int32), step, score)


def number(text):
  """The state that a text leads to."""
  state = 0
  for token in text:
    state = state * 3 + token
  return state


@pytest.fixture(scope="module")
def table():
  return 1.5 * jax.random.normal(jax.random.key(0), (FRAMES, 40, CLASSES))


def all_texts(table, frames):
  """How likely each text up to LENGTH is, over all its alignments."""
  log_probs = np.asarray(jax.nn.log_softmax(table), np.float64)
  found = {}
  for count in range(LENGTH + 1):
    for text in itertools.product(range(1, CLASSES), repeat=count):
      for ups in itertools.combinations(range(frames - 1 + count), count):
        t = u = 0
        score = 0.0
        for place in range(frames - 1 + count):
          said = number(text[:u]) % 40
          if place in ups:
            score, u = score + log_probs[t, said, text[u]], u + 1
          else:
            score, t = score + log_probs[t, said, 0], t + 1
        score += log_probs[t, number(text) % 40, 0]
        found[text] = found.get(text, 0.0) + math.exp(score)
  return found


def clips(rows=3):
  """Frames that are one-hot, of lengths 3, 1 and 2."""
  encoded = jnp.broadcast_to(jnp.eye(FRAMES), (rows, FRAMES, FRAMES))
  return encoded, jnp.arange(FRAMES) < jnp.array([[3], [1], [2]])[:rows]


def texts_of(beam, row):
  return {
    tuple(tokens[:length].tolist()): float(score)
    for tokens, length, score in zip(*(np.asarray(x[row]) for x in beam), strict=True)
    if score > -1e29
  }


def test_a_search_over_all_texts_adds_up_all_alignments(table):
  encoded = np.eye(FRAMES, dtype=np.float32)
  for frames in (1, 2, 3):
    wanted = all_texts(table, frames)
    found = dict(
      transducer.search_texts(network(table), encoded[:frames], length=LENGTH)
    )
    assert set(found) == set(wanted)
    for text, share in wanted.items():
      assert math.exp(found[text]) == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize("beam", [1, 3, 15])
def test_on_the_device_a_beam_finds_what_the_plain_search_finds(table, beam):
  encoded, frames = clips()
  encoded = jnp.where(frames[..., None], encoded, jnp.nan)
  found = jax.jit(
    lambda encoded: transducer.decode_beam(
      network(table), encoded, frames, length=LENGTH, beam=beam
    )
  )(encoded)
  for row in range(3):
    plain = transducer.search_texts(
      network(table), np.asarray(encoded[row][frames[row]]), length=LENGTH, beam=beam
    )
    texts = texts_of(found, row)
    assert set(texts) == {text for text, _ in plain}
    for text, score in plain:
      assert texts[text] == pytest.approx(score, rel=1e-4, abs=1e-5)
    order = np.asarray(found.score[row])
    assert (np.diff(order) <= 0).all()


def test_the_plain_search_asks_once_for_each_text(table):
  calls = []
  texts = transducer.search_texts(
    network(table, calls), np.eye(FRAMES, dtype=np.float32), length=2
  )
  assert len(calls) == len(texts) == 1 + 2 + 4


def greedy_by_hand(table, frames, most, length):
  log_probs = np.asarray(jax.nn.log_softmax(table), np.float64)
  text, at, score = [], [], 0.0
  for t in range(frames):
    for here in range(most + 1):
      row = log_probs[t, number(text) % 40]
      best = int(row.argmax()) if here < most and len(text) < length else 0
      score += row[best]
      if best == 0:
        break
      text.append(best)
      at.append(t)
  return text, at, score


@pytest.mark.parametrize(("most", "length"), [(10, 6), (1, 6), (2, 3)])
def test_greedy_takes_the_likeliest_class_of_each_cell(table, most, length):
  encoded, frames = clips()
  found = jax.jit(
    lambda encoded: transducer.decode_greedy(
      network(table), encoded, frames, length=length, most=most
    )
  )(jnp.where(frames[..., None], encoded, jnp.nan))
  for row, count in enumerate((3, 1, 2)):
    text, at, score = greedy_by_hand(table, count, most, length)
    valid = np.asarray(found.valid[row])
    assert found.tokens[row][valid].tolist() == text
    assert found.frames[row][valid].tolist() == at
    assert float(found.score[row]) == pytest.approx(score, rel=1e-4)


@pytest.fixture(scope="module")
def read():
  """Both readers at once, so that a shape is compiled once."""

  @jax.jit
  def both(table, encoded, frames):
    net = network(table)
    greedy = transducer.decode_greedy(net, encoded, frames, length=8, most=2)
    beam = transducer.decode_beam(net, encoded, frames, length=4, beam=2)
    return greedy, best_of(beam)

  return both


def test_a_network_that_always_speaks_comes_to_an_end(read):
  table = jnp.zeros((FRAMES, 40, CLASSES)).at[..., 1].set(9.0)
  greedy, beam = read(table, *clips())
  assert greedy.valid.sum(-1).tolist() == [6, 2, 4]
  assert greedy.frames[0, :6].tolist() == [0, 0, 1, 1, 2, 2]
  assert beam.valid.sum(-1).tolist() == [4, 0, 4]  # in one frame, silence is likelier


def test_a_clip_without_frames_says_nothing(table, read):
  encoded, frames = clips()
  greedy, beam = read(table, encoded, frames.at[1].set(False))
  for found in (greedy, beam):
    assert not found.valid[1].any() and found.score[1] == 0
    assert (found.score[::2] < 0).all()


def test_a_bonus_changes_the_choice_alike_on_the_device_and_in_plain_python(table):
  gains = np.array([0.0, -1.5, 1.0], np.float32)
  encoded, frames = clips(1)
  found = jax.jit(
    lambda encoded: transducer.decode_beam(
      network(table), encoded, frames, length=LENGTH, beam=4,
      bonus=lambda tokens, length: jnp.broadcast_to(gains, (*length.shape, CLASSES)),
    )
  )(encoded)  # fmt: skip
  rows = np.asarray(encoded[0])
  plain, free = (
    transducer.search_texts(network(table), rows, length=LENGTH, beam=4, bonus=b)
    for b in (lambda text: gains, None)
  )
  texts = texts_of(found, 0)
  assert texts.keys() == dict(plain).keys()
  assert texts[plain[0][0]] == pytest.approx(plain[0][1], rel=1e-4)
  assert [text for text, _ in plain] != [text for text, _ in free]


@pytest.mark.parametrize("setting", [{"most": 0}, {"length": 0}])
def test_a_reader_may_say_something(table, setting):
  with pytest.raises(ValueError, match="keeps nothing"):
    transducer.decode_greedy(network(table), *clips(), **{"length": 3, **setting})
