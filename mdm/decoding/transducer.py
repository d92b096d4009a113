"""Reading a transducer: greedily frame by frame, or by the likeliest texts.

A transducer says any number of tokens in a frame and goes on by blank. The greedy
reader takes the likeliest class of each cell and goes on by itself after `most` tokens
in one frame, so that a network that always speaks comes to an end.

The search keeps the `w` likeliest pairs of a text and a frame that are reached in the
same number of steps, tokens and frames together; ways that meet in a pair are added.
A text is finished by the blank of the last frame, and its score is the sum over all
its alignments that the beam has kept: over all of them in a beam that is wide enough.
What the prediction network makes of a text depends on nothing else, so it is kept with
the text: the device's beam moves its states, the plain form remembers each text's.

Source: *Alignment-Length Synchronous Decoding for RNN Transducer*, Saon, Tuske and
Audhkhasi, 2020, algorithm 1; *Sequence Transduction with Recurrent Neural Networks*,
Graves, 2012, section 2.6, for what a beam search is to find.
"""

import heapq
import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from mdm.decoding.prefixes import (
  NEVER,
  Beam,
  Bonus,
  Transcript,
  check_search,
  choose,
  empty_beam,
  grow,
  move_to_children,
)

Prefix = tuple[int, ...]
PyTree = Any


class Network(NamedTuple):
  """A transducer as readers see it, r rows at a time.

  `start(r)` is the state before anything was said, arrays with r rows; `step(token [r],
  state)` gives `(predicted [r e], state)`, blank being the first token; `score(encoded
  [r d], predicted)` gives log-probabilities [r v].
  """

  start: Callable[[int], PyTree]
  step: Callable[[jax.Array, PyTree], tuple[jax.Array, PyTree]]
  score: Callable[[jax.Array, jax.Array], jax.Array]


class Place(NamedTuple):
  """Where the greedy reader stands in each row, and what it has said."""

  frame: Int[Array, "b"]
  here: Int[Array, "b"]  # tokens said in this frame
  said: Int[Array, "b"]
  tokens: Int[Array, "b n"]
  frames: Int[Array, "b n"]
  score: Float[Array, "b"]
  predicted: Float[Array, "b e"]
  state: PyTree


def decode_greedy(
  network: Network,
  encoded: Float[Array, "b f d"],
  frames: Bool[Array, "b f"],
  *,
  length: int,
  most: int = 10,
  blank: int = 0,
) -> Transcript:
  """The likeliest class of each cell; the score is that of the path.

  Args:
    network: what it asks.
    encoded: of each frame.
    frames: real frames, at the front of each row.
    length: most tokens of a text, n; after these all is blank.
    most: most tokens in one frame.
    blank: the class that goes on a frame.

  Raises:
    ValueError: `length` or `most` below 1.
  """
  check_search(most, length)
  encoded = jnp.where(frames[..., None], encoded, 0.0)
  b, total = len(encoded), frames.sum(-1)
  rows = jnp.arange(b)

  def advance(at: Place) -> Place:
    """A token or a blank in every row that is not over."""
    heard = encoded[rows, jnp.minimum(at.frame, encoded.shape[1] - 1)]
    is_on = at.frame < total
    may_speak = is_on & (at.here < most) & (at.said < length)
    return _advance(network, at, heard, is_on, may_speak, blank=blank)

  predicted, state = network.step(jnp.full(b, blank), network.start(b))
  zeros, empty = jnp.zeros(b, jnp.int32), jnp.zeros((b, length), jnp.int32)
  begin = Place(zeros, zeros, zeros, empty, empty - 1, jnp.zeros(b), predicted, state)
  at = jax.lax.while_loop(lambda at: (at.frame < total).any(), advance, begin)
  valid = jnp.arange(length) < at.said[:, None]
  return Transcript(at.tokens, valid, at.frames, at.score)


def _advance(
  network: Network,
  at: Place,
  heard: Float[Array, "b d"],
  is_on: Bool[Array, "b"],
  may_speak: Bool[Array, "b"],
  *,
  blank: int,
) -> Place:
  """The likeliest class of each row's cell, blank where it may not speak."""
  log_probs = network.score(heard, at.predicted)
  best = jnp.where(may_speak, log_probs.argmax(-1), blank)  # b
  speaks = best != blank
  gain = jnp.take_along_axis(log_probs, best[:, None], axis=-1)[:, 0]
  place = jnp.arange(at.tokens.shape[1]) == at.said[:, None]
  place = place & speaks[:, None]  # b n
  predicted, state = network.step(best, at.state)
  return Place(
    at.frame + (is_on & ~speaks),
    jnp.where(speaks, at.here + 1, 0),
    at.said + speaks,
    jnp.where(place, best[:, None], at.tokens),
    jnp.where(place, at.frame[:, None], at.frames),
    at.score + jnp.where(is_on, gain, 0.0),
    _select(speaks, predicted, at.predicted),
    jax.tree.map(lambda new, old: _select(speaks, new, old), state, at.state),
  )


def decode_beam(
  network: Network,
  encoded: Float[Array, "b f d"],
  frames: Bool[Array, "b f"],
  *,
  length: int,
  beam: int = 8,
  blank: int = 0,
  bonus: Bonus | None = None,
) -> Beam:
  """The likeliest texts, on the device.

  Args:
    network: what it asks, b w rows at a time.
    encoded: of each frame.
    frames: real frames, at the front of each row.
    length: most tokens of a text, n.
    beam: texts kept, w.
    blank: the class that goes on a frame.
    bonus: what a language model adds; its n is `length`.

  Raises:
    ValueError: `length` or `beam` below 1.
  """
  check_search(beam, length)
  encoded = jnp.where(frames[..., None], encoded, 0.0)
  b, total = len(encoded), frames.sum(-1)
  predicted, state = network.step(jnp.full(b * beam, blank), network.start(b * beam))
  start = empty_beam(b, beam, length)
  nothing = Beam(start.tokens, start.length, jnp.full((b, beam), NEVER))
  is_empty = jnp.where(total == 0, 0.0, NEVER)  # a clip of no frames says nothing
  done = nothing._replace(score=nothing.score.at[:, 0].set(is_empty))
  start = start._replace(score=jnp.where((total > 0)[:, None], start.score, NEVER))

  def advance(kept: Search, step: Int[Array, ""]) -> tuple[Search, None]:
    """One token or blank more for all texts."""
    alive = kept.alive
    frame = step - alive.length  # b w
    here = jnp.clip(frame, 0, encoded.shape[1] - 1)[..., None]
    heard = jnp.take_along_axis(encoded, here, axis=1)  # b w d
    log_probs = network.score(heard.reshape(b * beam, -1), kept.predicted)
    log_probs = log_probs.reshape(b, beam, -1)
    said, ended = _go_on(alive, log_probs, blank=blank, bonus=bonus)
    is_last = frame == total[:, None] - 1
    done = alive._replace(score=jnp.where(is_last, ended, NEVER))
    source, token, score = choose(jnp.where(is_last, NEVER, ended), said)
    predicted, state = _remember(network, kept, source, token, blank=blank)
    alive = grow(alive, source, token, score)
    return Search(alive, _keep_best(kept.done, done), predicted, state), None

  steps = jnp.arange(encoded.shape[1] + length)
  found, _ = jax.lax.scan(advance, Search(start, done, predicted, state), steps)
  return found.done


class Search(NamedTuple):
  """Texts that go on, the best of those that are finished, what is known of the first.

  `predicted` and the arrays of `state` have b w rows.
  """

  alive: Beam
  done: Beam
  predicted: Float[Array, "r e"]
  state: PyTree


def _go_on(
  alive: Beam, log_probs: Float[Array, "b w v"], *, blank: int, bonus: Bonus | None
) -> tuple[Float[Array, "b w v"], Float[Array, "b w"]]:
  """Scores of each text with each token more, and of each text a frame on."""
  ended = alive.score + log_probs[..., blank]
  said = alive.score[..., None] + log_probs
  if bonus is not None:
    said = said + bonus(alive.tokens, alive.length)
  is_full = alive.length == alive.tokens.shape[-1]
  closed = (jnp.arange(log_probs.shape[-1]) == blank) | is_full[..., None]
  said, gained = move_to_children(alive, jnp.where(closed, NEVER, said))
  return said, jnp.logaddexp(ended, gained)


def _remember(
  network: Network,
  kept: Search,
  source: Int[Array, "b w"],
  token: Int[Array, "b w"],
  *,
  blank: int,
) -> tuple[jax.Array, PyTree]:
  """What is predicted after texts `source` with a token more, if it is not negative."""
  b, beam = source.shape
  rows = (source + beam * jnp.arange(b)[:, None]).reshape(-1)  # b w, in one
  before = jax.tree.map(lambda x: x[rows], (kept.predicted, kept.state))
  speaks = (token >= 0).reshape(-1)
  after = network.step(jnp.where(speaks, token.reshape(-1), blank), before[1])
  found = jax.tree.map(lambda new, old: _select(speaks, new, old), after, before)
  return cast(tuple[jax.Array, PyTree], found)


def _keep_best(one: Beam, other: Beam) -> Beam:
  """The best of two beams, as many as in one."""
  both = [jnp.concatenate(pair, axis=1) for pair in zip(one, other, strict=True)]
  score, chosen = jax.lax.top_k(both[2], one.score.shape[1])
  tokens = jnp.take_along_axis(both[0], chosen[..., None], axis=1)
  return Beam(tokens, jnp.take_along_axis(both[1], chosen, axis=1), score)


def _select(rows: Bool[Array, "r"], new: jax.Array, old: jax.Array) -> jax.Array:
  """Rows of one array or the other."""
  return jnp.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def search_texts(
  network: Network,
  encoded: Float[np.ndarray, "f d"],
  *,
  length: int,
  beam: int = 0,
  blank: int = 0,
  bonus: Callable[[Prefix], Float[np.ndarray, "v"]] | None = None,
) -> list[tuple[Prefix, float]]:
  """The same search of one clip in plain Python, in float64.

  Args:
    network: what it asks, a row at a time; each text's prediction is made once.
    encoded: of the real frames, at least one.
    length: most tokens of a text.
    beam: texts kept; 0 for all, which makes the scores exact.
    blank: the class that goes on a frame.
    bonus: from a text to what each next token gains.

  Returns:
    Texts and their scores in nats, best first.
  """
  recall = _Memory(network, blank)
  alive: dict[Prefix, float] = {(): 0.0}
  done: dict[Prefix, float] = {}
  for step in range(len(encoded) + length):
    found: dict[Prefix, float] = {}
    for text, score in alive.items():
      frame = step - len(text)
      heard = jnp.asarray(encoded[frame])[None]
      row = np.asarray(network.score(heard, recall(text)[0])[0], np.float64)
      gains = np.zeros_like(row) if bonus is None else bonus(text)
      _add(found, text, score + row[blank])
      for k in range(len(row)) if len(text) < length else ():
        if k != blank:
          _add(found, (*text, k), score + row[k] + gains[k])
    ended = {text for text in found if step - len(text) == len(encoded) - 1}
    done |= {text: found.pop(text) for text in ended}
    alive = found
    if beam:
      alive = dict(heapq.nlargest(beam, found.items(), key=_score))
      done = dict(heapq.nlargest(beam, done.items(), key=_score))
  return sorted(done.items(), key=_score, reverse=True)


class _Memory:
  """What the prediction network makes of texts, asked once for each."""

  def __init__(self, network: Network, blank: int) -> None:
    self.network, self.blank = network, blank
    self.known: dict[Prefix, tuple[jax.Array, PyTree]] = {}

  def __call__(self, text: Prefix) -> tuple[jax.Array, PyTree]:
    """The output after a text, and the state to go on from."""
    if text not in self.known:
      state = self(text[:-1])[1] if text else self.network.start(1)
      token = jnp.array([text[-1] if text else self.blank])
      self.known[text] = self.network.step(token, state)
    return self.known[text]


def _add(found: dict[Prefix, float], text: Prefix, score: float) -> None:
  """Adds a way to reach a text."""
  found[text] = float(np.logaddexp(found.get(text, -math.inf), score))


def _score(text: tuple[Prefix, float]) -> float:
  """What texts are ranked by."""
  return cast(float, text[1])
