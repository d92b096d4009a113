"""One key per example, so that a mask depends on no other example.

A key drawn for a step is folded with each example's index in the training stream. What
a row hides is then the same in any batch order, on any number of devices or processes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def example_keys(key: Key[Array, ""], index: Int[Array, "b"]) -> Key[Array, "b"]:
  """Folds `key` with every example's global index: one key per row."""
  return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)


def fold_keys(keys: Key[Array, "b"], number: Int[Array, ""] | int) -> Key[Array, "b"]:
  """Folds every row's key with the same number, such as that of a pass."""
  return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, number)


def copy_keys(keys: Key[Array, "b"], copies: int) -> Key[Array, "b r"]:
  """One key per copy of each example; copy 0 is the same however many there are."""
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  return jax.vmap(fold, in_axes=(0, None))(keys, jnp.arange(copies))  # b r


def split_keys(keys: Key[Array, "b"], count: int) -> list[Key[Array, "b"]]:
  """Splits every row's key into `count` keys, as a list to unpack by name."""
  parts = jax.vmap(lambda key: jax.random.split(key, count))(keys)  # b count
  return [parts[:, i] for i in range(count)]


def uniform_rows(keys: Key[Array, "b"], length: int) -> Float[Array, "b {length}"]:
  """Uniform numbers in [0, 1), `length` to a row, each row from its own key."""
  return jax.vmap(lambda key: jax.random.uniform(key, (length,)))(keys)
