"""Residual networks: published sizes, statistics over the whole batch, cut short."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from jax.sharding import NamedSharding, PartitionSpec
from toys.pictures import away_from_zero

from mdm.nn.resnet import ResNet

SMALL = {"widths": (4, 8, 12, 16), "depths": (1, 1, 1, 1), "stem": "small"}
KINDS = [("basic", "small"), ("bottleneck", "large")]


def image(rows=4, seed=0):
  return jax.random.normal(jax.random.key(seed), (rows, 8, 8, 3))


def start(**settings):
  module = ResNet(**SMALL | {"block": "basic"} | settings)
  boxed = jax.jit(lambda key: module.init(key, image()))(jax.random.key(1))
  return module, positive(away_from_zero(meta.unbox(boxed)))


def positive(variables):
  """No variance below 0 after the noise."""
  return jax.tree_util.tree_map_with_path(
    lambda path, x: jnp.abs(x) if "var" in str(path[-1]) else x, variables
  )


def run(module, variables, x, **kwargs):
  return jax.jit(lambda v, x: module.apply(v, x, **kwargs))(variables, x)


@pytest.fixture(scope="module")
def network():
  return start()


def test_resnet_50_has_the_weights_and_maps_that_were_published():
  large = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
  variables = jax.eval_shape(ResNet().init, jax.random.key(0), large)
  weights = [x.size for x in jax.tree.leaves(variables["params"]) if x.ndim == 4]
  assert sum(weights) == 23_454_912  # 25,557,032 less the classifier and the norms
  assert len(weights) == 1 + 16 * 3 + 4

  def shape(**settings):
    module = ResNet(**settings)
    made = jax.eval_shape(
      lambda x: module.init_with_output(jax.random.key(0), x)[0], large
    )
    assert made.shape[-1] == module.width
    return made.shape

  assert shape() == (1, 7, 7, 2048)
  assert shape(groups=3) == (1, 14, 14, 1024)
  assert shape(groups=3, stem="small") == (1, 56, 56, 1024)


@pytest.mark.parametrize(("block", "stem"), KINDS)
def test_it_is_the_published_equation_step_by_step(block, stem):
  module, variables = start(block=block, stem=stem, groups=2)
  p, s = variables["params"], variables["batch_stats"]

  def conv(x, node, stride=1):
    kernel = node["kernel"]
    pad = ((kernel.shape[0] // 2,) * 2,) * 2
    return jax.lax.conv_general_dilated(
      x, kernel, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

  def pre(x, node, stats):
    y = (x - stats["mean"]) / jnp.sqrt(stats["var"] + 1e-5)
    return jnp.maximum(y * node["scale"] + node["bias"], 0.0)

  def by_hand(x):
    x = conv(x, p["stem"], 1 if stem == "small" else 2)
    if stem == "large":
      x = jax.lax.reduce_window(
        x,
        -jnp.inf,
        jax.lax.max,
        (1, 3, 3, 1),
        (1, 2, 2, 1),
        ((0, 0), (1, 1), (1, 1), (0, 0)),
      )
    for group, stride in (("stage_1", 1), ("stage_2", 2)):
      q, t = p[group]["block_0"], s[group]["block_0"]
      first = y = pre(x, q["norm_0"], t["norm_0"])
      strided = 1 if block == "bottleneck" else 0
      for i in range(3 if block == "bottleneck" else 2):
        if i:
          y = pre(y, q[f"norm_{i}"], t[f"norm_{i}"])
        y = conv(y, q[f"conv_{i}"], stride if i == strided else 1)
      x = y + (conv(first, q["shortcut"], stride) if "shortcut" in q else x)
    return pre(x, p["norm"], s["norm"])

  np.testing.assert_allclose(
    run(module, variables, image()), jax.jit(by_hand)(image()), rtol=1e-4, atol=1e-4
  )


def test_cut_after_three_groups_it_is_the_start_of_the_whole_network(network):
  whole, variables = network
  part, _ = start(groups=3)
  every, maps = jax.jit(
    lambda v: whole.apply(
      v, image(), capture_intermediates=True, mutable="intermediates"
    )
  )(variables)
  third = maps["intermediates"]["stage_3"]["__call__"][0]
  shared = {"stem", "stage_1", "stage_2", "stage_3"}

  def cut(tree):
    ends = {"scale": jnp.ones(12), "bias": jnp.zeros(12)}
    stats = {"mean": jnp.zeros(12), "var": jnp.ones(12)}
    norm = ends if "stem" in tree else stats
    return {name: tree[name] for name in shared & set(tree)} | {"norm": norm}

  found = run(part, {name: cut(tree) for name, tree in variables.items()}, image())
  np.testing.assert_allclose(
    found, jnp.maximum(third, 0) / (1 + 1e-5) ** 0.5, atol=1e-5
  )
  assert every.shape == (4, 1, 1, 16)
  assert set(variables["params"]) - shared == {"stage_4", "norm"}


def test_statistics_are_those_of_the_whole_batch_on_any_number_of_devices(network):
  module, variables = network
  x = image(rows=8)
  mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  cut = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
  train = jax.jit(
    lambda x: module.apply(variables, x, train=True, mutable=["batch_stats"])
  )
  for one, many in zip(*(jax.tree.leaves(train(a)) for a in (x, cut)), strict=True):
    np.testing.assert_allclose(one, many, atol=1e-5)

  _, state = train(x)
  stem = jax.lax.conv_general_dilated(
    x, variables["params"]["stem"]["kernel"], (1, 1), "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )  # fmt: skip
  old, new = (
    tree["batch_stats"]["stage_1"]["block_0"]["norm_0"] for tree in (variables, state)
  )
  mean, var = stem.mean((0, 1, 2)), stem.var((0, 1, 2))
  np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * mean, atol=1e-5)
  np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * var, rtol=1e-4)


@pytest.mark.parametrize(
  ("norm", "train", "alone"),
  [("batch", True, False), ("batch", False, True), ("group", True, True)],
)
def test_examples_meet_in_batch_norms_of_a_training_only(norm, train, alone):
  module, variables = start(norm=norm, groups=2)
  assert ("batch_stats" in variables) == (norm == "batch")
  other = image().at[1:].set(image(seed=5)[1:])
  first, second = (
    run(module, variables, x, train=train, mutable=["batch_stats"])[0][0]
    for x in (image(), other)
  )
  assert bool((np.abs(first - second) < 1e-6).all()) == alone


def test_bfloat16_is_near_float32_and_its_parameters_are_float32(network):
  module, variables = network
  low = module.clone(dtype=jnp.bfloat16)
  found = run(low, variables, image())
  assert found.dtype == jnp.bfloat16
  # 10 layers of 8 bits each
  wanted = run(module, variables, image())
  assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"groups": 5}, "groups = 5"),
    ({"groups": 0}, "at least one"),
    ({"depths": (1, 1)}, "4 widths and 2 depths"),
    ({"block": "bottle"}, "did you mean 'bottleneck'"),
    ({"stem": "tiny"}, "stem = 'tiny'"),
    ({"norm": "layer"}, "norm = 'layer'"),
  ],
)
def test_what_cannot_be_is_refused_before_anything_is_compiled(settings, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(ResNet(**SMALL | settings).init, jax.random.key(0), image())
