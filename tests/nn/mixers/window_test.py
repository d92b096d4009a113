"""The sliding window: exactly w tokens, and a ring that holds no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixers import MIXERS, SHAPE, B, N, W, X, extend_in, params_of, run

from mdm.nn.mixers.window import WindowAttention


def test_a_token_depends_on_exactly_the_last_w():
  jacobian = jax.jacrev(lambda x: run("window", x)[0].sum(-1))(X)[:, 0]  # n m d
  depends = np.asarray((jacobian != 0).any(-1))
  i, j = np.indices((N, N))
  np.testing.assert_array_equal(depends, (j <= i) & (j > i - W))


def test_a_window_of_one_maps_each_values_tokens_alone():
  model = WindowAttention(**SHAPE, window=1)
  out = jax.jit(model.apply)(params_of("window"), X)
  p = params_of("window")["params"]
  value = jnp.einsum("bnd,dgk->bngk", X, p["value"]["kernel"])
  alone = jnp.einsum("bnhk,hkd->bnd", jnp.repeat(value, 2, 2), p["out"]["kernel"])
  np.testing.assert_allclose(out, alone, atol=1e-5)


def test_a_window_as_long_as_the_sequence_is_dense():
  model = WindowAttention(**SHAPE, window=N)
  out = jax.jit(model.apply)(params_of("dense"), X)
  np.testing.assert_allclose(out, run("dense"), atol=1e-6)


def test_the_ring_holds_the_last_w_positions_whatever_the_length():
  _, ring = extend_in("window", [5, 1, 7])
  assert ring.pairs.key.shape == (B, W, 2, 4)
  np.testing.assert_array_equal(np.sort(ring.position), [[9, 10, 11, 12]] * B)
  assert MIXERS["window"].init_cache(1, 1000).position.shape == (1, W)
  assert MIXERS["window"].init_cache(1, 3).position.shape == (1, 3)


def test_a_window_of_nothing_is_refused():
  with pytest.raises(ValueError, match="window = 0 lets a token see nothing"):
    WindowAttention(2, window=0).init(jax.random.key(0), X)
