"""The final reflection."""

import jax
import jax.numpy as jnp
import numpy as np
from decoding.lookup import EOS, MASK, N, V

from mdm.decoding.decode import decode
from mdm.decoding.reader import Reader
from mdm.decoding.reflect import reflect

TRUTH = jnp.array([1, 2, 3, EOS] + [MASK] * (N - 4))


def proofread(tokens, t):
  """Misreads the second character unless it stands, right or wrong, on the canvas."""
  first_guess = TRUTH.at[1].set(5)
  answer = jnp.where((tokens[:, 1:2] == MASK), first_guess, TRUTH)
  return jax.nn.one_hot(answer, V) * 9


def test_reflection_corrects_what_decoding_misread():
  canvas = jnp.full((1, N), MASK)
  plain = decode(proofread, canvas, "pd", mask_id=MASK)
  reflected = decode(proofread, canvas, "pd", mask_id=MASK, final_reflect=True)
  assert plain.tokens[0, 1] == 5
  assert (reflected.tokens[0] == TRUTH).all()


def seen_by_reflection(row):
  heard = []

  def predict(tokens, t):
    jax.debug.callback(lambda x: heard.append(np.asarray(x)), tokens)
    return jnp.zeros((*tokens.shape, V))

  reflect(Reader(predict, MASK), jnp.asarray([row]))
  jax.effects_barrier()
  return heard[0][0].tolist()


def test_reflection_shows_everything_up_to_the_eos_and_hides_the_rest():
  row = [1, 2, EOS, 4, EOS, 5, 6, 1, 2]
  assert seen_by_reflection(row) == [1, 2, EOS] + [MASK] * 6


def test_reflection_shows_a_row_without_eos_whole():
  row = [1, 2, 3, 4, 5, 6, 1, 2, 3]
  assert seen_by_reflection(row) == row
