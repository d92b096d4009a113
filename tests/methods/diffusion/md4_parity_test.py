"""Same weights, times and hidden tokens: losses and gradients of the original MD4.

The numbers are stored in tests/parity. Tolerances: logits 1e-4 absolute on values of
order one, losses 1e-5 relative, gradients 1e-4 of their largest: float32 in another
order. In T steps and for t^3 the original takes 1 - alpha from alpha near one: 1e-4.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from parity import md4 as original

from mdm.masks.corruption import Corrupted
from mdm.methods.diffusion.genmd4 import GenMD4
from mdm.methods.diffusion.md4 import MD4
from mdm.nn.denoiser import Denoiser

CASES = {
  "linear": {},
  "cosine": {"schedule": "cosine"},
  "poly3": {"schedule": "polynomial", "power": 3.0},
  "linear_10_steps": {"timesteps": 10},
  "cosine_10_steps": {"schedule": "cosine", "timesteps": 10},
  "no_time": {},
}
EMBEDDING = "grad/classifier/Transformer_0/Embed_0/embedding"


@pytest.fixture(scope="module")
def stored():
  return original.numbers()


def network(name):
  settings = original.TIMELESS if name == "no_time" else original.TIMED
  return Denoiser(**settings)


def params_of(stored, name):
  return original.denoiser_params(stored, "none" if name == "no_time" else "t")


@functools.cache
def compiled(method, copies):
  """Loss, means, logits and gradients of given times and masks."""

  def run(bound, tokens, t, mask):
    batch = {"tokens": tokens, "index": jnp.arange(len(tokens))}
    rows = bound.read(batch, train=False)
    if isinstance(bound, MD4) and bound.timesteps:
      t = (jnp.floor(t * bound.timesteps) + 1) / bound.timesteps
    many, at = rows.repeat(copies), jnp.repeat(t, copies)
    weight = 1.0 / at if isinstance(bound, GenMD4) else bound.weight_at(at)
    shown = jnp.where(mask, bound.mask_id, many.tokens)
    logits = bound.logits(shown, at)
    means = bound.losses(rows, t, Corrupted(shown, mask, weight), logits)
    return {name: mean.value() for name, mean in means.items()}, logits

  def loss(params, *inputs):
    means, logits = method.apply({"params": params}, *inputs, method=run)
    return means["loss"], (means, logits)

  return jax.jit(jax.grad(loss, has_aux=True))


def close(ours, theirs, tolerance=1e-4):
  """To a share of the largest number."""
  np.testing.assert_allclose(
    ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max()
  )


@pytest.mark.parametrize("name", ["linear", "no_time"])
def test_name_map_fills_every_parameter_with_its_shape(stored, name):
  tokens, t = (jnp.asarray(stored[f"input/{name}"]) for name in ("tokens", "t"))
  made = jax.eval_shape(lambda: network(name).init(jax.random.key(0), tokens, t))
  ours = jax.tree.map(jnp.shape, meta.unbox(made)["params"])
  assert ours == jax.tree.map(jnp.shape, params_of(stored, name))


@pytest.mark.parametrize("name", CASES)
def test_md4_equals_the_original(stored, name):
  method = MD4(network(name), **CASES[name])
  given = (stored["input/tokens"], stored["input/t"], stored["input/masks"][0])
  grads, (means, logits) = compiled(method, 1)(
    {"network": params_of(stored, name)}, *given
  )
  np.testing.assert_allclose(logits, stored[f"md4/{name}/logits"][0], atol=1e-4)
  slack = 1e-4 if method.timesteps or method.power > 1 else 1e-5
  np.testing.assert_allclose(means["loss"], stored[f"md4/{name}/loss"], rtol=slack)
  close(grads["network"]["embedding"], stored[f"md4/{name}/{EMBEDDING}"])


def test_reconstruction_equals_the_original(stored):
  rows = {"tokens": stored["input/tokens"], "index": jnp.arange(4)}
  bound = MD4(network("linear")).bind({})
  rest = bound.rest(bound.read(rows, train=False)) / (12 * np.log(2))
  # The original takes 1 - alpha(0) from two numbers near one.
  np.testing.assert_allclose(rest, stored["md4/linear/loss_recon"], rtol=1e-3)


def test_genmd4_equals_the_original_in_bound_surrogate_and_gradient(stored):
  method = GenMD4(network("linear"))
  masks = stored["input/masks"].swapaxes(0, 1).reshape(-1, 12)  # copies side by side
  t = 1e-3 + (1 - 1e-3) * stored["input/t"]
  params = {
    "network": params_of(stored, "linear"),
    "powers": stored["weights/t/noise_schedule/w"],
  }
  grads, (means, logits) = compiled(method, 2)(params, stored["input/tokens"], t, masks)
  theirs = stored["genmd4/logits"].swapaxes(0, 1).reshape(logits.shape)
  np.testing.assert_allclose(logits, theirs, atol=1e-4)
  np.testing.assert_allclose(means["bits/token"], stored["genmd4/loss_nelbo"], 1e-5)
  np.testing.assert_allclose(means["loss"], stored["genmd4/loss"], 1e-5)
  close(grads["network"]["embedding"], stored[f"genmd4/{EMBEDDING}"])
  close(grads["powers"], stored["genmd4/grad/noise_schedule/w"])
