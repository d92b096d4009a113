"""The exact GELU beside numbers in double precision."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn import gelu as module
from mdm.nn.gelu import gelu

X = np.linspace(-8, 8, 1_001)
PHI = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in X])
DENSITY = np.exp(-X * X / 2) / math.sqrt(2 * math.pi)


def test_values_and_slopes_are_those_of_the_definition():
  x = jnp.asarray(X, jnp.float32)
  np.testing.assert_allclose(gelu(x), X * PHI, atol=1e-6)
  slope = jax.vmap(jax.grad(gelu))(x)
  np.testing.assert_allclose(slope, PHI + X * DENSITY, atol=1e-6)


def test_it_can_be_differentiated_twice_and_forward():
  x = jnp.asarray(X, jnp.float32)
  _, curve = jax.jvp(jax.vmap(jax.grad(gelu)), (x,), (jnp.ones_like(x),))
  np.testing.assert_allclose(curve, (2 - X * X) * DENSITY, atol=1e-6)


def test_half_precision_stays_half_precision():
  x = jnp.asarray(X, jnp.bfloat16)
  y = gelu(x)
  assert y.dtype == jnp.bfloat16
  exact = jax.nn.gelu(x.astype(jnp.float32), approximate=False)
  np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_other_devices_compile_what_jax_has(monkeypatch, platform):
  monkeypatch.setattr(module, "target_platform", lambda: platform)
  jaxpr = str(jax.make_jaxpr(jax.grad(gelu))(1.0))
  assert "optimization_barrier" not in jaxpr and "erfc" in jaxpr
