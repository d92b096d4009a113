"""Weights in two layouts: what goes where, and that nothing is lost on the way."""

import jax
import numpy as np
import pytest

from mdm.interop import layout

CONV = layout.Weight(
  "conv", ("conv", "kernel"), (2 * 2 * 3, 5), (5, 3, 2, 2), (2, 3, 1, 0)
)
LINEAR = layout.linear("map.weight", ("map", "kernel"), (4, 3, 2))
JOINED = layout.linear("out.weight", ("out", "kernel"), (3, 2, 4), 2)
BIAS = layout.plain("map.bias", ("map", "bias"), (3, 2), (6,))
WEIGHTS = [CONV, LINEAR, JOINED, BIAS]


def stored(seed=0):
  rng = np.random.default_rng(seed)
  return {w.name: rng.normal(size=w.stored).astype(np.float32) for w in WEIGHTS}


def test_a_linear_map_does_the_same_here_as_there():
  arrays = stored()
  params = layout.read_params(arrays, WEIGHTS)
  x = np.random.default_rng(1).normal(size=4)
  there = (arrays["map.weight"] @ x + arrays["map.bias"]).reshape(3, 2)
  here = np.tensordot(x, params["map"]["kernel"], 1) + params["map"]["bias"]
  np.testing.assert_allclose(here, there, rtol=1e-5)
  back = np.tensordot(there, params["out"]["kernel"], 2)
  np.testing.assert_allclose(back, arrays["out.weight"] @ there.ravel(), rtol=1e-5)


def test_a_patch_is_multiplied_in_the_order_row_column_channel():
  arrays = stored()
  kernel = layout.read_params(arrays, WEIGHTS)["conv"]["kernel"]
  patch = np.random.default_rng(2).normal(size=(2, 2, 3))
  there = np.einsum("ocyx,yxc->o", arrays["conv"], patch)
  np.testing.assert_allclose(patch.ravel() @ kernel, there, rtol=1e-5)


def test_written_is_what_was_read():
  arrays = stored()
  again = layout.write_arrays(layout.read_params(arrays, WEIGHTS), WEIGHTS)
  assert {k: v.shape for k, v in again.items()} == {w.name: w.stored for w in WEIGHTS}
  for name, array in arrays.items():
    np.testing.assert_array_equal(again[name], array)


def test_parameters_of_another_shape_are_not_written():
  params = layout.read_params(stored(), WEIGHTS)
  params["map"]["bias"] = params["map"]["bias"].T
  del params["conv"]
  with pytest.raises(
    ValueError, match=r"missing \(1\): conv/kernel; misshapen.*\[2, 3\]"
  ):
    layout.write_arrays(params, WEIGHTS)


def test_stacked_layers_are_the_layers_in_order():
  params = {f"block_{i}": {"a": np.full(3, i)} for i in range(11)} | {
    "norm": np.ones(2)
  }
  stacked = layout.stack_layers(params, 11)
  assert set(stacked) == {"blocks", "norm"}
  np.testing.assert_array_equal(stacked["blocks"]["a"][:, 0], np.arange(11))
  again = layout.unstack_layers(stacked, 11)
  assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), again, params))
