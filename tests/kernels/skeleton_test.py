"""The primitive against JAX's own dense attention; eviction times by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels.eviction import eviction_times
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import causal_intervals


@pytest.mark.parametrize("width", [1, 7, 40])
def test_a_query_sees_the_best_keys_up_to_itself_the_latest_first_among_equals(width):
  score = np.random.default_rng(0).integers(0, 6, (1, 2, 40)).astype(np.float32)
  end = np.asarray(eviction_times(jnp.asarray(score), width, chunk=16))
  for g in range(2):
    for i in range(40):
      best = sorted(range(i + 1), key=lambda j: (-score[0, g, j], -j))[:width]
      assert set(best) == {j for j in range(i + 1) if i < end[0, g, j]}


def test_causal_intervals_are_causal_attention():
  query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 12, 4, 8))
  key, value = key[:, :, :2], value[:, :, :2]
  mixed = interval_attention(query, key, value, causal_intervals(12)).out
  peer = jax.nn.dot_product_attention(query, key, value, is_causal=True)
  np.testing.assert_allclose(mixed, peer, atol=1e-6)
