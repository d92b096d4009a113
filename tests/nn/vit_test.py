"""Vision transformers: what hidden patches cannot change, orders that do not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.masks.scores import split_by_score
from mdm.nn.patches import take_tokens
from mdm.nn.positions import grid_sincos
from mdm.nn.vit import Vit

SMALL = {"patch": 4, "width": 16, "depth": 2, "heads": 2}
GRID = (2, 3)
N = 6


def image(seed=0, rows=2):
  return jax.random.normal(jax.random.key(seed), (rows, 8, 12, 3))


def run(module, variables, *args, **kwargs):
  return jax.jit(lambda v: module.apply(v, *args, **kwargs))(variables)


@pytest.fixture(scope="module")
def encoder(variables_of):
  module = Vit(**SMALL)
  return module, variables_of(module, image())


@pytest.fixture(scope="module")
def split():
  score = jax.random.uniform(jax.random.key(3), (2, N))
  return split_by_score(score, 2)


def test_columns_fill_the_first_half_of_a_place_and_rows_the_second():
  table = grid_sincos(2, 3, 8)
  rates = np.array([1.0, 0.01])
  by_hand = [
    np.concatenate(
      [np.sin(c * rates), np.cos(c * rates), np.sin(r * rates), np.cos(r * rates)]
    )
    for r in range(2)
    for c in range(3)
  ]
  np.testing.assert_allclose(table, by_hand, atol=1e-7)


def test_places_of_a_width_that_4_does_not_divide_are_refused():
  with pytest.raises(ValueError, match="width = 6 is no multiple of 4"):
    grid_sincos(2, 2, 6)


def test_hidden_pixels_change_no_bit_and_get_no_gradient(encoder, split):
  module, variables = encoder

  @jax.jit
  def encode(x):
    return module.apply(variables, x, keep=split.keep)

  hidden = np.asarray(split.mask).reshape(2, *GRID)
  hidden = hidden.repeat(4, axis=1).repeat(4, axis=2)[..., None]
  changed = jnp.where(hidden, 99.0, image())
  np.testing.assert_array_equal(encode(image()), encode(changed))
  gradient = np.asarray(jax.grad(lambda x: jnp.square(encode(x)).sum())(image()))
  assert (gradient[np.broadcast_to(hidden, gradient.shape)] == 0).all()
  assert (gradient[np.broadcast_to(~hidden, gradient.shape)] != 0).mean() > 0.99


def test_keeping_all_patches_is_the_plain_network(encoder):
  module, variables = encoder
  every = jnp.broadcast_to(jnp.arange(N), (2, N))
  np.testing.assert_allclose(
    run(module, variables, image(), keep=every),
    run(module, variables, image()),
    atol=1e-6,
  )


def test_the_order_of_kept_patches_is_that_of_the_tokens_and_nothing_else(encoder):
  module, variables = encoder
  keep = jnp.asarray([[0, 3, 4], [1, 2, 5]])
  found = run(module, variables, image(), keep=keep)
  turned = run(module, variables, image(), keep=keep[:, ::-1])
  np.testing.assert_allclose(turned[:, 1:], found[:, :0:-1], atol=1e-5)
  np.testing.assert_allclose(turned[:, 0], found[:, 0], atol=1e-5)


def test_a_network_without_positions_does_not_know_where_a_patch_was(variables_of):
  module = Vit(**SMALL, positions="none", has_cls=False)
  variables = variables_of(module, image())
  order = jnp.asarray([[5, 3, 1, 0, 2, 4]] * 2)
  found = run(module, variables, image())
  turned = run(module, variables, image(), keep=order)
  np.testing.assert_allclose(turned, take_tokens(found, order), atol=1e-5)


def test_a_mask_puts_one_learned_token_in_place_of_every_hidden_patch(
  variables_of, split
):
  module = Vit(**SMALL, positions="none", has_cls=False)
  variables = variables_of(module, image(), mask=split.mask)
  found = np.asarray(run(module, variables, image(), mask=split.mask))
  for row, mask in zip(found, np.asarray(split.mask), strict=True):
    assert np.ptp(row[mask], axis=0).max() < 1e-6
  changed = jnp.where(jnp.ones(3, bool), image(5), 0.0)
  keeps = np.asarray(split.mask).reshape(2, *GRID).repeat(4, 1).repeat(4, 2)[..., None]
  mixed = jnp.where(keeps, changed, image())
  np.testing.assert_array_equal(found, run(module, variables, mixed, mask=split.mask))


def test_learned_positions_are_parameters_and_fixed_ones_are_not(variables_of):
  learned = variables_of(Vit(**SMALL, positions="learned"), image())["params"]
  assert learned["position_embedding"].shape == (N, 16)
  assert "position_embedding" not in variables_of(Vit(**SMALL), image())["params"]


def test_learned_positions_from_zero_start_as_a_network_without_any():
  keys = jax.random.key(1)
  plain, zero = (Vit(**SMALL, positions=p) for p in ("none", "learned_zero"))
  variables = meta.unbox(jax.jit(zero.init)(keys, image()))
  table = variables["params"]["position_embedding"]
  assert table.shape == (N, 16) and (table == 0).all()
  without = {k: v for k, v in variables["params"].items() if k != "position_embedding"}
  np.testing.assert_array_equal(
    run(zero, variables, image()), run(plain, {"params": without}, image())
  )


def test_tokens_outside_of_the_context_change_no_other_token(encoder):
  module, variables = encoder
  context = jnp.asarray([[0, 2, 5]] * 2)  # of tokens: the class is the first
  found = run(module, variables, image(), context=context)
  cell = image().at[:, 4:, 4:8].set(9.0)  # patch 4 is token 5
  other = image().at[:, :4, 8:].set(9.0)  # patch 2 is token 3
  assert (run(module, variables, cell, context=context) != found).any(-1).all()
  changed = (run(module, variables, other, context=context) != found).any(-1)
  np.testing.assert_array_equal(changed, [[i == 3 for i in range(N + 1)]] * 2)


@pytest.mark.parametrize(
  ("setting", "words"),
  [
    ({"positions": "sincoss"}, "did you mean 'sincos'"),
    ({"patch": 5}, "does not tile"),
  ],
)
def test_what_cannot_be_is_refused_before_anything_is_compiled(setting, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(Vit(**{**SMALL, **setting}).init, jax.random.key(0), image())


def test_scanned_layers_are_the_unrolled_ones(encoder):
  module, variables = encoder
  stack = dict(variables["params"]["stack"])
  blocks = [stack.pop(f"block_{i}") for i in range(2)]
  stack["blocks"] = jax.tree.map(lambda *x: jnp.stack(x), *blocks)
  scanned = Vit(**SMALL, scan=True)
  params = {"params": {**variables["params"], "stack": stack}}
  np.testing.assert_allclose(
    run(scanned, params, image()), run(module, variables, image()), atol=1e-5
  )


def test_without_a_last_norm_the_stack_ends_in_the_plain_sum(encoder):
  module, variables = encoder
  params = {**variables["params"], "stack": dict(variables["params"]["stack"])}
  norm = params["stack"].pop("norm")
  bare = run(Vit(**SMALL, has_norm=False), {"params": params}, image())
  centred = bare - bare.mean(-1, keepdims=True)
  normed = centred / jnp.sqrt(bare.var(-1, keepdims=True) + 1e-6)
  np.testing.assert_allclose(
    run(module, variables, image()), normed * norm["scale"] + norm["bias"], atol=1e-5
  )
