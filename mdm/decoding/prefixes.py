"""What readers of speech share: a transcript, and a beam of prefixes that grow.

A search over prefixes keeps the `w` likeliest beginnings of a text. Two ways may lead
to the same beginning, by saying its last token now or by having said it before; both
count, so they are added, never kept beside each other.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

NEVER = -1e30  # log 0 without infinities, whose differences are not numbers

# From prefixes [b w n] and their lengths [b w] to what each next token gains [b w v],
# such as a language model's log-probabilities times their weight.
Bonus = Callable[[jax.Array, jax.Array], jax.Array]


class Transcript(NamedTuple):
  """What was said: ids where `valid`, at the front; the frame in which each begins.

  `score` is the log-probability in nats that the decoder has added up, as it says.
  """

  tokens: Int[Array, "b n"]
  valid: Bool[Array, "b n"]
  frames: Int[Array, "b n"]
  score: Float[Array, "b"]


class Beam(NamedTuple):
  """The likeliest texts, best first: the first `length` of their tokens, 0 behind.

  `score` is in nats, bonuses included; `NEVER` or below where there are fewer texts.
  """

  tokens: Int[Array, "b w n"]
  length: Int[Array, "b w"]
  score: Float[Array, "b w"]


def find_parents(beam: Beam) -> Bool[Array, "b w w"]:
  """Whether prefix i is prefix j and one token more, for prefixes that are likely."""
  tokens, length, score = beam
  place = jnp.arange(tokens.shape[-1])
  inside = place < length[:, None, :, None]  # b 1 w n
  equal = (tokens[:, :, None] == tokens[:, None]) | ~inside  # b w w n
  longer = length[:, :, None] == length[:, None] + 1
  alive = score > NEVER / 2
  return equal.all(-1) & longer & alive[:, :, None] & alive[:, None]


def last_tokens(beam: Beam) -> Int[Array, "b w"]:
  """The last token of each prefix; 0 for the empty one."""
  place = jnp.maximum(beam.length - 1, 0)[..., None]
  found = jnp.take_along_axis(beam.tokens, place, axis=-1)[..., 0]
  return jnp.where(beam.length > 0, found, 0)


def move_to_children(
  beam: Beam, said: Float[Array, "b w v"]
) -> tuple[Float[Array, "b w v"], Float[Array, "b w"]]:
  """`(said, gained)`: scores of next tokens, less those that are prefixes already.

  Args:
    beam: the prefixes.
    said: score of each prefix with each next token.

  Returns:
    `said` with `NEVER` where the longer prefix is in the beam, and what each prefix
    gains in this way, `NEVER` for none.
  """
  parents = find_parents(beam)  # b w w: child, parent
  last = last_tokens(beam)
  by_parent = jnp.take_along_axis(said, last[:, None], axis=-1)  # b parent child
  by_parent = jnp.where(parents, by_parent.swapaxes(1, 2), NEVER)  # b child parent
  is_last = jax.nn.one_hot(last, said.shape[-1], dtype=bool)  # b child v
  moved = (parents[..., None] & is_last[:, :, None]).any(1)  # b parent v
  return jnp.where(moved, NEVER, said), by_parent.max(-1)


def choose(
  stays: Float[Array, "b w"], said: Float[Array, "b w v"]
) -> tuple[Int[Array, "b w"], Int[Array, "b w"], Float[Array, "b w"]]:
  """`(source, token, score)` of the best of all prefixes that stay or say a token.

  `token` is -1 for those that stay. Of equal scores, what stays comes first.
  """
  b, width, v = said.shape
  choices = jnp.concatenate([stays, said.reshape(b, -1)], axis=-1)
  score, chosen = jax.lax.top_k(jnp.maximum(choices, NEVER), width)
  is_new = chosen >= width
  source = jnp.where(is_new, (chosen - width) // v, chosen)
  return source, jnp.where(is_new, (chosen - width) % v, -1), score


def grow(
  beam: Beam, source: Int[Array, "b w"], token: Int[Array, "b w"], score: jax.Array
) -> Beam:
  """The beam of prefixes `source`, each with a token more where it is not negative."""
  tokens = jnp.take_along_axis(beam.tokens, source[..., None], axis=1)
  length = jnp.take_along_axis(beam.length, source, axis=1)
  here = jnp.arange(tokens.shape[-1]) == length[..., None]  # b w n
  grows = token >= 0
  tokens = jnp.where(here & grows[..., None], token[..., None], tokens)
  return Beam(tokens, length + grows, score)


def empty_beam(rows: int, width: int, length: int) -> Beam:
  """The empty prefix alone, in the first place."""
  score = jnp.full((rows, width), NEVER).at[:, 0].set(0.0)
  zeros = jnp.zeros((rows, width), jnp.int32)
  return Beam(jnp.zeros((rows, width, length), jnp.int32), zeros, score)


def best_of(beam: Beam) -> Transcript:
  """The likeliest text of each row; its frames are not known, -1."""
  tokens, length = beam.tokens[:, 0], beam.length[:, 0]
  valid = jnp.arange(tokens.shape[-1]) < length[:, None]
  return Transcript(tokens, valid, jnp.full_like(tokens, -1), beam.score[:, 0])


def check_search(width: int, length: int) -> None:
  """Checks a search's sizes before anything is compiled.

  Raises:
    ValueError: a beam or a length below 1.
  """
  for name, value in (("beam", width), ("length", length)):
    if value < 1:
      raise ValueError(f"{name} = {value} keeps nothing; set it to 1 or more.")
