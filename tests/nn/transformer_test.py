import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.transformer import CrossDecoder, Transformer, rematerialised

DEPTH = 2


def draw(*shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


X, MEMORY = draw(2, 3, 5, 8), draw(2, 7, 12, seed=1)


def build(**settings):
  return CrossDecoder(**{"depth": DEPTH, "heads": 2} | settings)


@pytest.fixture(scope="module")
def params(variables_of):
  return variables_of(build(), X, MEMORY, train=False)["params"]


@functools.cache
def compiled(**settings):
  model = build(**settings)
  return jax.jit(lambda p, x, m: model.apply({"params": p}, x, m, train=False))


def run(params, x=X, memory=MEMORY, **settings):
  return compiled(**settings)(params, x, memory)


def stack(params):
  blocks = [params[f"block_{i}"] for i in range(DEPTH)]
  return {"blocks": jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)}


def test_permuting_copies_permutes_the_result(params):
  order = jnp.array([2, 0, 1])
  np.testing.assert_allclose(run(params)[:, order], run(params, X[:, order]), atol=1e-5)


def test_a_copy_sees_neither_other_copies_nor_other_examples(params):
  changed = run(params, X.at[0, 1].multiply(-1.0))
  same = jnp.ones((2, 3), bool).at[0, 1].set(False)
  np.testing.assert_array_equal(changed[same], run(params)[same])
  assert (changed[0, 1] != run(params)[0, 1]).any()


def test_several_copies_equal_one_copy_at_a_time(params):
  parts = [run(params, X[:, i : i + 1]) for i in range(3)]
  np.testing.assert_allclose(run(params), jnp.concatenate(parts, 1), atol=1e-5)


def test_every_token_depends_on_every_token_of_its_copy_and_on_the_memory(params):
  def first(x, memory):
    return run(params, x, memory)[0, 0, 0, 0]

  to_x, to_memory = jax.grad(first, (0, 1))(X, MEMORY)
  assert (to_x[0, 0] != 0).any(-1).all()
  assert (to_memory[0] != 0).any(-1).all()
  assert (to_memory[1] == 0).all()


@pytest.mark.parametrize("norm_first", [False, True])
def test_scan_over_stacked_parameters_equals_the_unrolled_blocks(params, norm_first):
  end = {"norm": {"scale": jnp.full(8, 2.0), "bias": jnp.ones(8)}} if norm_first else {}
  unrolled = run(params | end, norm_first=norm_first)
  scanned = run(stack(params) | end, norm_first=norm_first, scan=True)
  np.testing.assert_allclose(scanned, unrolled, atol=1e-5)


def test_scanned_parameters_carry_a_layer_axis_and_differ_between_layers():
  model = build(scan=True, drop_path=0.1)
  boxed = jax.jit(lambda: model.init(jax.random.key(0), X, MEMORY, train=False))()
  kernel = boxed["params"]["blocks"]["mlp"]["up"]["kernel"]
  assert kernel.names == ("layers", "embed", "mlp")
  assert kernel.value.shape == (DEPTH, 8, 32)
  assert (kernel.value[0] != kernel.value[1]).any()


@pytest.mark.parametrize(("remat", "scan"), [("dots", False), ("full", True)])
def test_rematerialisation_gives_the_same_gradients(params, remat, scan):
  depth = DEPTH if scan else 1
  params = stack(params) if scan else params

  def loss(params, remat):
    y = run(params, remat=remat, scan=scan, depth=depth)
    return jnp.square(y - 1.0).sum()

  gradients = jax.jit(lambda p: [jax.grad(loss)(p, r) for r in ("none", remat)])(params)
  for plain, ours in zip(*map(jax.tree.leaves, gradients), strict=True):
    # the same sums in another fused order
    np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scan", [False, True])
def test_training_draws_dropout_and_dropped_paths_anew_from_each_key(params, scan):
  model = build(drop_path=0.5, scan=scan, remat="full")
  variables = {"params": stack(params) if scan else params}
  apply = jax.jit(
    lambda key: model.apply(variables, X, MEMORY, train=True, rngs={"dropout": key})
  )
  first, again, other = (apply(jax.random.key(i)) for i in (0, 0, 1))
  assert (first == again).all()
  assert (first != other).any()


def test_training_without_any_rate_needs_no_key_and_equals_evaluation(params):
  model = build(dropout=0.0)
  still = jax.jit(lambda: model.apply({"params": params}, X, MEMORY, train=True))()
  np.testing.assert_allclose(still, run(params), atol=1e-5)


def test_bfloat16_stays_close_to_float32_with_float32_parameters(params):
  model = build(dtype=jnp.bfloat16)
  created = jax.eval_shape(
    lambda: model.init(jax.random.key(0), X, MEMORY, train=False)
  )
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(created))
  y = run(params, dtype=jnp.bfloat16)
  assert y.dtype == jnp.bfloat16
  # unit-variance outputs, 8 bits of mantissa, two blocks
  np.testing.assert_allclose(y.astype(jnp.float32), run(params), atol=0.1)


def test_hidden_tokens_of_a_transformer_get_no_gradient_from_the_others(variables_of):
  visible = jnp.array([True, True, False, True])
  model = Transformer(depth=2, heads=2)
  x = draw(1, 4, 8)
  variables = variables_of(model, x, train=False)

  def loss(x):
    y = model.apply(variables, x, visible[None, None, None], train=False)
    return jnp.square(y[:, visible] - 1.0).sum()

  gradient = jax.jit(jax.grad(loss))(x)
  assert (gradient[:, 2] == 0).all()
  assert (gradient[:, visible] != 0).any(-1).all()


@pytest.mark.parametrize("settings", [{}, {"scan": True, "remat": "full"}])
def test_a_context_equals_hiding_the_others_in_every_layer(variables_of, settings):
  model = Transformer(depth=2, heads=2, **settings)
  x, context = draw(2, 5, 8), jnp.array([[3, 0], [1, 4]])
  seen = jax.nn.one_hot(context, 5, dtype=bool).any(1)[:, None, None]  # b 1 1 n
  variables = variables_of(model, x, train=False)

  @jax.jit
  def both(variables):
    ours = model.apply(variables, x, context=context, train=False)
    return ours, model.apply(variables, x, seen, train=False)

  np.testing.assert_allclose(*both(variables), atol=1e-5)


def test_pre_norm_ends_in_a_norm_and_post_norm_does_not(variables_of):
  first, after = (
    set(variables_of(build(norm_first=n), X, MEMORY, train=False)["params"])
    for n in (True, False)
  )
  assert first - after == {"norm"}


def test_unknown_rematerialisation_lists_the_known_ones():
  with pytest.raises(ValueError, match="'none', 'dots', 'full'"):
    rematerialised(Transformer, "all")
