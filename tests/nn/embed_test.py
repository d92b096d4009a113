import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.nn.embed import CanvasEmbed
from mdm.nn.positions import sinusoids

TOKENS = jnp.array([[[0, 3, 4], [4, 4, 1]]])


def build(**settings):
  model = CanvasEmbed(num_embeddings=5, length=4, width=8, **settings)
  return model, meta.unbox(model.init(jax.random.key(0), TOKENS, train=False))


def test_canvas_embed_is_the_sum_of_its_three_parts():
  model, variables = build(dropout=0.5)
  params = variables["params"]
  expected = params["embedding"][TOKENS] * 8**0.5
  expected = expected + sinusoids(3, 8) + params["position"][:3]
  ours = model.apply(variables, TOKENS, train=False)
  np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_dropout_spares_the_learned_positions():
  model, variables = build(dropout=0.9)
  y = model.apply(variables, TOKENS, train=True, rngs={"dropout": jax.random.key(1)})
  rest = jnp.abs(y - variables["params"]["position"][:3])
  assert 0.7 < (rest < 1e-6).mean() < 1.0


def test_every_row_trains_the_end_included():
  model, variables = build()

  def loss(variables):
    return jnp.square(model.apply(variables, TOKENS, train=False)).sum()

  gradient = jax.grad(loss)(variables)["params"]["embedding"]
  assert (gradient != 0).any(-1).tolist() == [True, True, False, True, True]


def test_rows_start_with_unit_length_in_expectation():
  model = CanvasEmbed(num_embeddings=500, length=4, width=64)
  table = meta.unbox(model.init(jax.random.key(0), TOKENS, train=False))
  # 32,000 draws of variance 1/64 know it to about 1%
  np.testing.assert_allclose(
    jnp.square(table["params"]["embedding"]).mean() * 64, 1.0, rtol=0.05
  )


def test_a_canvas_longer_than_the_table_is_refused():
  model, variables = build()
  with pytest.raises(ValueError, match="canvas of 5 tokens, but length = 4"):
    model.apply(variables, jnp.zeros((1, 1, 5), jnp.int32), train=False)
