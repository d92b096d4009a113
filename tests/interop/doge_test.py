"""Published weights under our names, there and back, and what is wrong with them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import doge as original

from mdm.interop import doge, safetensors
from mdm.training import build

WEIGHTS = original.below("weights/")
A = "model.layers.1.self_attn.A"


@functools.cache
def shapes(scan):
  """Paths and shapes that the network itself has."""
  spec = original.network(scan=scan)
  network = build.build_network(spec, "model.network", jnp.dtype("float32"))
  found = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 4), int))
  return {k: v.shape for k, v in safetensors.flatten(nn.unbox(found)["params"]).items()}


@pytest.mark.parametrize("scan", [False, True])
def test_imported_weights_are_the_networks_parameters(scan):
  leaves = safetensors.flatten(original.params(scan=scan))
  assert {k: v.shape for k, v in leaves.items()} == shapes(scan)
  assert {leaf.dtype for leaf in leaves.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("scan", [False, True])
def test_exported_and_imported_again_is_the_same_bit_for_bit(scan):
  network = original.network(scan=scan)
  exported = doge.export_weights(original.params(scan=scan), network)
  assert exported.keys() == WEIGHTS.keys()
  for name, array in exported.items():
    assert array.shape == WEIGHTS[name].shape
    assert (array == WEIGHTS[name]).all(), name


def test_a_folder_written_is_the_folder_read(tmp_path):
  network, params = original.network(), original.params()
  doge.save_checkpoint(params, network, tmp_path / "doge", length=64)
  again, read = doge.load_checkpoint(tmp_path / "doge")
  assert again == network
  for name, leaf in safetensors.flatten(read).items():
    assert (leaf == safetensors.flatten(params)[name]).all()


def test_a_head_of_its_own_is_read_and_a_copy_of_the_embedding_left_out():
  own = {doge.HEAD: 2 * WEIGHTS[doge.EMBEDDING]}
  params = doge.import_weights(WEIGHTS | own, original.network(ties_head=False))
  assert (own[doge.HEAD] == params["head"].T).all()
  copy = {doge.HEAD: WEIGHTS[doge.EMBEDDING]}
  assert "head" not in doge.import_weights(WEIGHTS | copy, original.network())
  with pytest.raises(ValueError, match=r"unexpected \(1\): lm_head.weight"):
    doge.import_weights(WEIGHTS | own, original.network())


def test_half_precision_is_read_as_float32():
  halves = {name: jnp.asarray(x, jnp.bfloat16) for name, x in WEIGHTS.items()}
  read = doge.import_weights(halves, original.network())
  np.testing.assert_allclose(read["norm"]["scale"], WEIGHTS["model.norm.weight"], 0.01)


def test_every_wrong_weight_is_listed_at_once():
  wrong = dict(WEIGHTS)
  del wrong[A], wrong["model.norm.weight"]
  wrong["model.layers.0.mlp.router_gate.weight"] = np.zeros(3)
  wrong["model.layers.0.mlp.up_proj.weight"] = np.zeros((32, 40))
  with pytest.raises(ValueError) as caught:
    doge.import_weights(wrong, original.network(), "model.safetensors")
  words = str(caught.value)
  assert f"missing (2): {A}, model.norm.weight" in words
  assert "unexpected (1): model.layers.0.mlp.router_gate.weight" in words
  assert "up_proj.weight is [32, 40] there, [40, 32] here" in words


@pytest.mark.parametrize("scan", [False, True])
def test_parameters_of_another_network_cannot_be_exported(scan):
  params = original.params(scan=scan)
  with pytest.raises(ValueError, match=r"missing.*block_2"):
    doge.export_weights(params, original.network(scan=scan, depth=3))


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path):
  with pytest.raises(ValueError, match=r"config.json does not exist"):
    doge.load_checkpoint(tmp_path)
