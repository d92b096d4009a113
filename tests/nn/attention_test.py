import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn import attention
from mdm.nn.attention import NOTES, Attention, attend, attend_and_weigh


def draw(*shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


def test_attend_equals_a_loop_over_examples_and_heads():
  query, key, value = draw(2, 3, 2, 4), draw(2, 5, 2, 4, seed=1), draw(2, 5, 2, 4)
  ours = attend(query, key, value)
  for b in range(2):
    for h in range(2):
      q, k, v = (np.asarray(x[b, :, h], np.float64) for x in (query, key, value))
      share = np.exp(q @ k.T / 2.0)
      share /= share.sum(-1, keepdims=True)
      np.testing.assert_allclose(ours[b, :, h], share @ v, atol=1e-5)


def test_hidden_keys_and_values_get_exactly_no_gradient():
  visible = jnp.array([[[[True, False, True, False]]]])
  key, value = draw(1, 4, 2, 4, seed=1), draw(1, 4, 2, 4, seed=2)

  def loss(key, value):
    return jnp.square(attend(draw(1, 3, 2, 4), key, value, visible)).sum()

  for gradient in jax.grad(loss, (0, 1))(key, value):
    assert (gradient[:, [1, 3]] == 0).all()
    assert (gradient[:, [0, 2]] != 0).any()


def test_the_share_on_marked_keys_is_the_sum_of_an_explicit_softmax():
  query, key, value = draw(2, 3, 2, 4), draw(2, 5, 2, 4, seed=1), draw(2, 5, 2, 4)
  marked = jnp.array([[True, False, True, False, False], [False] * 4 + [True]])
  visible = jnp.ones((2, 1, 3, 5), bool).at[:, :, :, 1].set(False)
  for seen in (None, visible):
    mixed, share = attend_and_weigh(query, key, value, marked, seen)
    scores = jnp.einsum("bqhk,bmhk->bqhm", query, key) / 2.0
    if seen is not None:
      scores = jnp.where(seen[:, 0, :, None], scores, -jnp.inf)
    explicit = (jax.nn.softmax(scores) * marked[:, None, None]).sum(-1)
    np.testing.assert_allclose(share, explicit, atol=1e-6)
    np.testing.assert_allclose(mixed, attend(query, key, value, seen), atol=1e-6)


def test_the_share_of_uniform_attention_is_that_of_the_keys_and_is_noted():
  x = draw(2, 5, 8)
  marked = jnp.array([[True, True, False, False, False], [True] * 5])
  module = Attention(2)
  params = jax.tree.map(jnp.zeros_like, module.init(jax.random.key(0), x))
  _, notes = module.apply(params, x, marked=marked, mutable=[NOTES])
  [share] = notes[NOTES]["marked"]
  np.testing.assert_allclose(share, np.repeat([[0.4], [1.0]], 5, axis=1), atol=1e-6)
  assert not module.apply(params, x, mutable=[NOTES])[1]


def test_attending_to_the_visible_equals_leaving_the_hidden_out():
  query, key, value = draw(1, 3, 2, 4), draw(1, 5, 2, 4, seed=1), draw(1, 5, 2, 4)
  visible = jnp.array([True, True, False, True, False])
  ours = attend(query, key, value, visible[None, None, None])
  short = attend(query, key[:, visible], value[:, visible])
  np.testing.assert_allclose(ours, short, atol=1e-6)


def test_a_query_that_may_see_nothing_gets_zeros_and_finite_gradients():
  visible = jnp.zeros((1, 1, 3, 5), bool).at[:, :, 0].set(True)
  key, value = draw(1, 5, 2, 4, seed=1), draw(1, 5, 2, 4, seed=2)
  query = draw(1, 3, 2, 4)
  assert (attend(query, key, value, visible)[:, 1:] == 0).all()
  gradient = jax.grad(lambda q: attend(q, key, value, visible).sum())(query)
  assert jnp.isfinite(gradient).all()


def test_softmax_of_bfloat16_inputs_runs_in_float32():
  # one key scores 8 nats over the mean of 400 others: bfloat16 sums would be off by 1%
  key = jnp.zeros((1, 401, 1, 1)).at[0, 0].set(8.0)
  value = jnp.zeros((1, 401, 1, 1)).at[0, 0].set(1.0)
  ours = attend(jnp.ones((1, 1, 1, 1), jnp.bfloat16), *_halved(key, value))
  expected = np.exp(8.0) / (np.exp(8.0) + 400)
  assert ours.dtype == jnp.bfloat16
  np.testing.assert_allclose(float(ours[0, 0, 0, 0]), expected, rtol=2**-8)


def test_self_attention_does_not_care_about_the_order_of_tokens():
  x = draw(1, 6, 8)
  order = jnp.array([3, 1, 5, 0, 2, 4])
  layer = Attention(heads=2)
  params = layer.init(jax.random.key(1), x)
  np.testing.assert_allclose(
    layer.apply(params, x)[:, order], layer.apply(params, x[:, order]), atol=1e-5
  )


def test_attention_to_a_memory_of_another_width_keeps_the_width_of_the_queries():
  x, memory = draw(2, 3, 8), draw(2, 5, 12)
  layer = Attention(heads=2)
  params = layer.init(jax.random.key(1), x, memory)["params"]
  assert layer.apply({"params": params}, x, memory).shape == (2, 3, 8)
  assert set(params) == {"query", "key_value", "out"}
  assert params["key_value"]["kernel"].value.shape == (12, 2, 2, 4)


def test_a_width_that_heads_do_not_divide_is_refused():
  with pytest.raises(ValueError, match=r"width = 8 .* heads = 3"):
    Attention(heads=3).init(jax.random.key(0), draw(1, 2, 8))


def _halved(*arrays):
  return [x.astype(jnp.bfloat16) for x in arrays]


def test_grouped_keys_and_values_serve_consecutive_queries():
  query, key, value = draw(1, 3, 4, 2), draw(1, 5, 2, 2, seed=1), draw(1, 5, 2, 2)
  ours = attend(query, key, value)
  for h in range(4):
    one = attend(query[:, :, [h]], key[:, :, [h // 2]], value[:, :, [h // 2]])
    np.testing.assert_allclose(ours[:, :, [h]], one, atol=1e-6)


def test_a_context_has_keys_and_values_alone_and_equals_hiding_the_other_tokens():
  x, context = draw(2, 6, 8), jnp.array([[4, 1], [0, 5]])
  variables = jax.jit(Attention(2).init)(jax.random.key(0), x)
  seen = jax.nn.one_hot(context, 6, dtype=bool).any(1)[:, None, None]  # b 1 1 n

  @jax.jit
  def mix(x, **given):
    return Attention(2).apply(variables, x, **given)

  ours = mix(x, context=context)
  np.testing.assert_allclose(ours, mix(x, visible=seen), atol=1e-6)
  everything = jnp.broadcast_to(jnp.arange(6), (2, 6))
  np.testing.assert_allclose(mix(x, context=everything), mix(x), atol=1e-6)
  whose = jax.jacobian(lambda x: mix(x, context=context)[:, :, 0].sum(0))(x)
  reads = (whose[:, 0] != 0).any(-1)  # q m: of the first example
  np.testing.assert_array_equal(reads, np.eye(6, dtype=bool) | seen[0, 0])


def test_a_context_of_a_quarter_saves_keys_values_and_their_products():
  x = draw(1, 64, 32)
  variables = jax.eval_shape(Attention(2).init, jax.random.key(0), x)

  def work(**given):
    run = jax.jit(lambda v, x: Attention(2).apply(v, x, **given))
    return run.lower(variables, x).cost_analysis()["flops"]

  width, n, kept = 32, 64, 16
  all_maps, attention = 2 * 4 * n * width**2, 2 * 2 * n**2 * width
  saved = (n - kept) / n * (all_maps / 2 + attention)
  whole = work()
  part = work(context=jnp.arange(kept)[None])
  assert whole - part >= saved
  assert whole >= all_maps + attention


def test_parameters_are_the_same_with_and_without_a_context():
  x = draw(1, 4, 8)
  init = jax.jit(Attention(2).init)
  plain = init(jax.random.key(0), x)
  short = init(jax.random.key(0), x, context=jnp.array([[2]]))
  jax.tree.map(np.testing.assert_array_equal, plain, short)


@pytest.mark.parametrize("hides", [False, True])
def test_a_cpu_computes_what_other_devices_do(monkeypatch, hides):
  keys = jax.random.split(jax.random.key(0), 5)
  query, weight = (jax.random.normal(k, (2, 5, 4, 3)) for k in keys[:2])
  key, value = (jax.random.normal(k, (2, 7, 2, 3)) for k in keys[2:4])
  visible = jax.random.bernoulli(keys[4], 0.6, (2, 1, 5, 7)).at[0, 0, 2].set(False)

  def found(platform):
    monkeypatch.setattr(attention, "target_platform", lambda: platform)

    def loss(*arrays):
      y = attention.attend(*arrays, visible if hides else None)
      return (y * weight).sum(), y

    gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
    return jax.jit(gradient)(query, key, value)

  ours, theirs = found("cpu"), found("tpu")
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    np.testing.assert_allclose(a, b, atol=2e-6)
