import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.rotary import KeyValue, RotaryAttention, make_rotation, rotate


def draw(*shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


def at(*positions, width=6, theta=100.0):
  return make_rotation(jnp.array([positions]), width, theta)


def test_rotation_turns_pairs_half_a_head_apart_like_complex_numbers():
  x = draw(2, 3, 2, 6)
  rates = 100.0 ** (-np.arange(3) / 3)
  turned = np.exp(1j * np.array([0, 1, 7])[:, None] * rates)[None, :, None]
  plain = (np.asarray(x[..., :3]) + 1j * np.asarray(x[..., 3:])) * turned
  ours = rotate(x, at(0, 1, 7))
  np.testing.assert_allclose(ours[..., :3], plain.real, atol=1e-5)
  np.testing.assert_allclose(ours[..., 3:], plain.imag, atol=1e-5)


def test_rotation_keeps_norms_and_position_zero_stays():
  x = draw(1, 2, 2, 6)
  y = rotate(x, at(0, 50))
  np.testing.assert_array_equal(y[:, 0], x[:, 0])
  np.testing.assert_allclose(
    jnp.linalg.norm(y, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5
  )


def test_scores_depend_on_distance_alone():
  query, key = draw(1, 1, 1, 6), draw(1, 1, 1, 6, seed=1)

  def score(i, j):
    return float((rotate(query, at(i)) * rotate(key, at(j))).sum())

  assert score(3, 1) == pytest.approx(score(103, 101), abs=1e-4)
  assert score(3, 1) != pytest.approx(score(1, 3), abs=1e-2)


def test_an_odd_head_cannot_turn():
  with pytest.raises(ValueError, match="head width = 5 is odd"):
    at(0, width=5)


@pytest.mark.parametrize("settings", [{}, {"kv_heads": 2}, {"qk_norm": True}])
def test_a_cache_filled_in_pieces_equals_one_pass(variables_of, settings):
  x, n = draw(2, 6, 8), 6
  module = RotaryAttention(4, **settings)
  variables = variables_of(module, x)
  causal = jnp.tril(jnp.ones((1, 1, n, n), bool))
  apply = jax.jit(module.apply)
  whole, pair = apply(variables, x, at(*range(n), width=2), causal)
  past = KeyValue(*(jnp.full(half.shape, 9.0) for half in pair))  # old rubbish
  for start, stop in ((0, 2), (2, 4), (4, 6)):
    part, past = apply(
      variables, x[:, start:stop], at(*range(start, stop), width=2),
      causal[:, :, start:stop], past, start,
    )  # fmt: skip
    np.testing.assert_allclose(part, whole[:, start:stop], atol=1e-5)
  np.testing.assert_allclose(past.key, pair.key, atol=1e-5)
  assert pair.key.shape[2] == settings.get("kv_heads", 4)


def test_normed_queries_and_keys_do_not_know_their_scale(variables_of):
  x = draw(1, 3, 8)
  module = RotaryAttention(2, qk_norm=True, epsilon=0.0)
  params = variables_of(module, x)["params"]
  kernel = params["qkv"]["kernel"].at[:, :2].multiply(7.0)  # queries and keys
  louder = params | {"qkv": {"kernel": kernel}}
  np.testing.assert_allclose(
    module.apply({"params": louder}, x)[0],
    module.apply({"params": params}, x)[0],
    atol=1e-5,
  )


@pytest.mark.parametrize("settings", [{"heads": 3}, {"heads": 4, "kv_heads": 3}])
def test_heads_that_do_not_divide_are_an_error(settings):
  with pytest.raises(ValueError, match="must divide width = 8"):
    RotaryAttention(**settings).init(jax.random.key(0), draw(1, 2, 8))
