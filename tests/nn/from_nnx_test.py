"""A flax.nnx model under a loss, in a training and in a sampler of this package."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mdm.methods.diffusion.md4 import MD4
from mdm.nn import from_nnx
from mdm.nn.from_nnx import NnxNetwork, model_params, update_model


@pytest.fixture(scope="module")
def page():
  """What the example of the module's page leaves behind."""
  text = from_nnx.__doc__.split("```python\n")[1].split("```")[0]
  names = {}
  exec(compile(text, "page", "exec"), names)
  return names


def test_the_pages_training_learns_and_its_sampler_writes_what_it_saw(page):
  losses = np.array(page["losses"])
  assert losses[-10:].mean() < 0.2 * losses[:5].mean()
  np.testing.assert_array_equal(page["drawn"], page["tokens"][:2])


def test_the_loss_has_gradients_in_every_parameter_of_the_model(page):
  grads = nnx.grad(page["loss_of"])(page["net"], jax.random.key(3))
  for leaf in jax.tree.leaves(nnx.to_pure_dict(grads)):
    assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_parameters_of_init_are_the_models_by_name_and_shape(page):
  rngs = dict.fromkeys(("params", "mask", "time", "dropout"), jax.random.key(0))
  made = page["method"].init(rngs, page["batch"], train=False)["params"]
  ours = model_params(page["net"])
  assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, ours)


def test_what_a_method_learned_goes_home_into_the_model(page):
  rngs = dict.fromkeys(("params", "mask", "time", "dropout"), jax.random.key(5))
  made = page["method"].init(rngs, page["batch"], train=False)["params"]
  model = page["Net"](*page["sizes"], rngs=nnx.Rngs(9))
  update_model(model, made)
  jax.tree.map(np.testing.assert_array_equal, model_params(model), made)
  tokens = page["tokens"]
  logits = page["method"].network.apply({"params": made["network"]}, tokens)
  np.testing.assert_allclose(model(tokens, None), logits, rtol=1e-6, atol=1e-6)


def test_parameters_of_another_model_are_refused(page):
  model = page["Net"](4, 8, 4, rngs=nnx.Rngs(0))
  with pytest.raises(ValueError, match="of another model than Net"):
    update_model(model, model_params(page["net"]))


def test_logits_of_another_vocabulary_are_refused(page):
  method = MD4(network=NnxNetwork(page["Net"], page["sizes"], vocab_size=5))
  with pytest.raises(ValueError, match=r"it must give logits of vocab_size = 5"):
    method.apply(
      {"params": model_params(page["net"])}, page["batch"], train=False,
      rngs={"mask": jax.random.key(0), "time": jax.random.key(1)},
    )  # fmt: skip
