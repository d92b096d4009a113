"""Same weights and tokens: logits, loss and gradients of the published Doge.

`sparse` keeps 6 of up to 24 keys, `dense` all. Tolerances: 1e-4 on logits up to 6, 1e-5
relative on losses, 1e-4 of the largest on gradients: float32 in another order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import doge as original

from mdm.interop import doge
from mdm.methods.text.causal_lm import CausalLM
from mdm.training import build

STORED = original.numbers()
TOKENS = jnp.asarray(STORED["input/tokens"], jnp.int32)
VALID = jnp.asarray(STORED["input/valid"])


@functools.cache
def network(case, **changes):
  spec = original.network(**changes)
  spec["mixer"] |= {"window": {"sparse": 6, "dense": 64}[case]}
  return build.build_network(spec, "model.network", jnp.dtype("float32"))


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("case", ["sparse", "dense"])
def test_logits_are_the_originals(case, scan):
  params = {"params": original.params(scan=scan)}
  got = jax.jit(network(case, scan=scan).apply)(params, TOKENS, valid=VALID)
  expected = STORED[f"{case}/logits"]
  np.testing.assert_allclose(got[VALID], expected[VALID], atol=1e-4)


def test_the_mask_makes_a_difference_in_the_stored_logits():
  sparse, dense = (STORED[f"{case}/logits"] for case in ("sparse", "dense"))
  assert (sparse[:, :6] == dense[:, :6]).all()
  assert np.abs(sparse - dense)[:, 6:].max() > 1


@functools.cache
def loss_and_gradients(case):
  lm = CausalLM(network(case))
  # The first token is what stands before the text, as our method has it.
  batch = {"tokens": TOKENS[:, 1:], "valid": VALID[:, 1:]}

  def loss(params):
    return lm.apply({"params": params}, batch, train=False)["loss"].value()

  return jax.jit(jax.value_and_grad(loss))({"network": original.params()})


@pytest.mark.parametrize("case", ["sparse", "dense"])
def test_losses_are_the_originals(case):
  loss, _ = loss_and_gradients(case)
  np.testing.assert_allclose(loss, STORED[f"{case}/loss"], rtol=1e-5)


def test_gradients_are_the_originals():
  _, grads = loss_and_gradients("sparse")
  got = doge.export_weights(grads["network"], original.network())
  expected = original.below("sparse/grad/")
  assert got.keys() == expected.keys()
  for name, array in expected.items():
    bound = 1e-4 * np.abs(array).max()
    np.testing.assert_allclose(got[name], array, atol=bound, err_msg=name)
