"""A tile against NumPy in float64, and its gradients against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels import reference, xla
from mdm.kernels.interval_attention import attend_tiles
from mdm.kernels.tiles import Saved, Tiles

R, M, D, E, SCALE = 4, 6, 3, 2, 0.7
RANDOM = np.random.default_rng(0)
FLOATS = [RANDOM.normal(size=s) for s in ((R, D), (M, D), (M, E), (M,))]
START = np.asarray([0, 0, 1, 2, 3, 0])
END = np.asarray([4, 2, 3, 9, 9, 0])  # the last key is dead
POSITION = np.asarray([0, 1, 3, 20])  # the last row sees nothing
D_OUT, D_LSE = RANDOM.normal(size=(R, E)), RANDOM.normal(size=R)
D_LSE[-1] = 0.0
BACKENDS = pytest.mark.parametrize(
  "backend", [reference, xla], ids=["reference", "xla"]
)


def tiles():
  whole = (*FLOATS, START, END, POSITION)
  types = [jnp.float32] * 4 + [jnp.int32] * 3
  return Tiles(*(jnp.asarray(x[None], t) for x, t in zip(whole, types, strict=True)))


def define(query, key, value, bias):
  """(out, lse) in float64."""
  visible = (POSITION[:, None] >= START) & (POSITION[:, None] < END)
  part = np.where(visible, np.exp(SCALE * query @ key.T + bias), 0.0)
  total = part.sum(1, keepdims=True)
  out = part / np.where(total > 0, total, 1.0) @ value
  return out, np.log(total[:, 0], where=total[:, 0] > 0, out=np.full(R, np.inf))


def measure(arrays):
  """A number of which all results but the infinite one are a part."""
  out, lse = define(*arrays)
  return (out * D_OUT).sum() + (lse[:-1] * D_LSE[:-1]).sum()


def differences(which, step=1e-5):
  """The gradient by central differences."""
  gradient = np.zeros_like(FLOATS[which])
  for place in np.ndindex(gradient.shape):
    ends = []
    for sign in (1, -1):
      moved = [x.copy() for x in FLOATS]
      moved[which][place] += sign * step
      ends.append(measure(moved))
    gradient[place] = (ends[0] - ends[1]) / (2 * step)
  return gradient


@BACKENDS
def test_a_tile_is_the_softmax_of_what_its_rows_see(backend):
  out, lse = backend.forward(tiles(), SCALE)
  expected_out, expected_lse = define(*FLOATS)
  np.testing.assert_allclose(out[0], expected_out, atol=1e-6)
  np.testing.assert_allclose(lse[0], expected_lse, atol=1e-6)
  assert (out[0, -1] == 0).all() and lse[0, -1] == np.inf


@BACKENDS
def test_gradients_of_a_tile_are_finite_differences(backend):
  out, lse = backend.forward(tiles(), SCALE)
  d_out = jnp.asarray(D_OUT[None], jnp.float32)
  delta = (out * d_out).sum(-1) - jnp.asarray(D_LSE, jnp.float32)
  grads = backend.backward(tiles(), SCALE, Saved(lse, d_out, delta))
  for which, (name, found) in enumerate(zip(grads._fields, grads, strict=True)):
    np.testing.assert_allclose(found[0], differences(which), atol=1e-5, err_msg=name)


def test_derivatives_of_tiles_are_the_backend_s():
  def total(arrays):
    """As `measure`."""
    out, lse = attend_tiles(Tiles(*arrays, *tiles()[4:]), SCALE, "reference")
    return (out * D_OUT).sum() + (lse[:, :-1] * D_LSE[:-1]).sum()

  for which, found in enumerate(jax.grad(total)(tiles()[:4])):
    np.testing.assert_allclose(found[0], differences(which), atol=1e-5)
