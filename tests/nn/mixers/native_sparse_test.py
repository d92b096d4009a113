"""Native sparse attention: three branches, their gates and their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixers import MIXERS, SHAPE, B, D, N, X, extend_in, params_of, run

from mdm.nn.mixers.native_sparse import NativeSparseAttention

MODEL = MIXERS["sparse"]


@functools.cache
def gated(first, second, third, model=MODEL):
  """The mixer with gates that are open (1) or closed (0), whatever the token."""
  params = params_of("sparse")["params"]
  kernel = np.zeros((D + 1, 4, 3), np.float32)
  kernel[D] = [200.0 * g - 100.0 for g in (first, second, third)]
  with_one = jnp.concatenate([X, jnp.ones((B, N, 1))], axis=-1)
  pad = {
    n: {"kernel": jnp.pad(params[n]["kernel"], ((0, 1), (0, 0), (0, 0)))}
    for n in ("query", "key", "value")
  }
  out = {"kernel": jnp.pad(params["out"]["kernel"], ((0, 0), (0, 0), (0, 1)))}
  params = params | pad | {"gate": {"kernel": jnp.asarray(kernel)}, "out": out}
  return applied(model)({"params": params}, with_one)[..., :D]


@functools.cache
def applied(model):
  """A jitted mixer."""
  return jax.jit(model.apply)


def others(name):
  """Another mixer with the same projections."""
  params = {n: p for n, p in params_of("sparse")["params"].items() if n != "gate"}
  model = MIXERS[name].clone(**({"window": 3} if name == "window" else {}))
  return applied(model)({"params": params}, X)


def test_the_third_branch_is_a_sliding_window():
  np.testing.assert_allclose(gated(0, 0, 1), others("window"), atol=1e-5)


def test_the_second_branch_is_dense_where_all_blocks_are_selected():
  every = MODEL.clone(num_blocks=4)
  np.testing.assert_allclose(gated(0, 1, 0, every), others("dense"), atol=1e-5)
  assert np.abs(gated(0, 1, 0) - others("dense"))[:, :8].max() < 1e-5  # two blocks
  assert np.abs(gated(0, 1, 0) - others("dense"))[:, 8:].max() > 1e-2


def test_the_first_branch_gives_zero_until_a_block_has_ended():
  out = gated(1, 0, 0)
  assert (out[:, :3] == 0).all() and (jnp.abs(out[:, 3:]).max(-1) > 0).all()


def test_the_branches_are_added():
  total = gated(1, 1, 1)
  parts = gated(1, 0, 0) + gated(0, 1, 0) + gated(0, 0, 1)
  np.testing.assert_allclose(total, parts, atol=1e-5)


def test_the_cache_holds_the_means_of_complete_blocks():
  whole, pieces = (
    extend_in("sparse", cuts, is_fresh=True)[1] for cuts in ([6, 1, 6], [6, *[1] * 7])
  )
  assert whole.means.pairs.key.shape == (B, 7, 2, 4)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, pieces)
  keys = np.asarray(whole.stored.pairs.key)
  for c in range(5):
    mean = keys[:, 2 * c : 2 * c + 4].mean(1)
    np.testing.assert_allclose(whole.means.pairs.key[:, c], mean, atol=1e-5)


def test_tokens_may_be_taken_back():
  _, cache = extend_in("sparse", [6, 1, 6])
  given = {"start": jnp.asarray(6), "valid": jnp.ones((B, 6), bool)}
  step = jax.jit(lambda x, cache: MODEL.apply(
    params_of("sparse"), x, cache, **given, method="extend"))  # fmt: skip
  _, spoilt = step(-X[:, 6:12], cache)
  out, _ = step(X[:, 6:12], spoilt)
  np.testing.assert_allclose(out, run("sparse")[:, 6:12], atol=1e-5)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"block": 0}, "block = 0 lets a token see nothing"),
    ({"num_blocks": 0}, "num_blocks = 0"),
    ({"window": 0}, "window = 0"),
    ({"stride": 5}, "stride = 5 must divide block = 32 and select_block = 64"),
  ],
)
def test_settings_that_cannot_be_are_named(settings, message):
  model = NativeSparseAttention(**SHAPE, **settings)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), X)
