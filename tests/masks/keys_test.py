"""Keys of examples and of their copies."""

import jax
import jax.numpy as jnp
import numpy as np

from mdm.masks.keys import copy_keys, example_keys, split_keys, uniform_rows

KEYS = example_keys(jax.random.key(0), jnp.arange(4))


def numbers(keys):
  return np.asarray(jax.random.key_data(keys)).reshape(keys.size, -1)


def test_an_example_has_one_key_wherever_it_stands():
  turned = example_keys(jax.random.key(0), jnp.array([3, 1]))
  assert (numbers(turned) == numbers(KEYS)[[3, 1]]).all()


def test_copies_of_an_example_have_keys_of_their_own():
  keys = copy_keys(KEYS, 3)
  assert len(np.unique(numbers(keys), axis=0)) == 12
  more = copy_keys(KEYS, 5)[:, :3]
  assert (numbers(more) == numbers(keys)).all()


def test_split_keys_are_all_different():
  first, second = split_keys(KEYS, 2)
  both = np.concatenate([numbers(first), numbers(second), numbers(KEYS)])
  assert len(np.unique(both, axis=0)) == 12


def test_rows_draw_from_their_own_key_alone():
  assert (uniform_rows(KEYS, 5)[2] == uniform_rows(KEYS[2:3], 5)[0]).all()
