import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.svtr import SVTR

IMAGE = jax.random.uniform(jax.random.key(0), (2, 16, 24, 3), minval=-1.0)


def build(**settings):
  return SVTR(
    mixers=("c", "cg"), dims=(8, 12), heads=(2, 2), strides=((2, 1),), **settings
  )


@pytest.fixture(scope="module")
def variables(variables_of):
  return variables_of(build(), IMAGE, train=False)


def count(model, image):
  created = jax.eval_shape(lambda: model.init(jax.random.key(0), image, train=False))
  return sum(leaf.size for leaf in jax.tree.leaves(created["params"]))


@pytest.mark.parametrize(
  ("mixers", "size"),
  [
    (("ccc", "cccggg", "ggg"), 11_592_384),
    (("cccccc", "ccgggg", "gggggg"), 17_649_600),
  ],
)
def test_small_and_base_have_the_published_number_of_parameters(mixers, size):
  # counted in the public code with its Small and Base settings
  assert count(SVTR(mixers=mixers), jnp.zeros((1, 32, 128, 3))) == size


@pytest.mark.parametrize(
  ("rows", "columns", "tokens"),
  [(64, 64, 128), (48, 96, 144), (40, 112, 140), (32, 128, 128)],
)
def test_each_bucket_gives_an_eighth_of_its_rows_times_a_quarter_of_its_columns(
  rows, columns, tokens
):
  model = SVTR(mixers=("c", "c", "g"), dims=(8, 8, 8), heads=(2, 2, 2))
  shape = jax.eval_shape(
    lambda: model.init_with_output(
      jax.random.key(0), jnp.zeros((1, rows, columns, 1)), train=False
    )[0]
  )
  assert shape.shape == (1, tokens, model.width)


def test_tokens_of_an_example_do_not_depend_on_the_others_in_evaluation(variables):
  apply = jax.jit(lambda image: build().apply(variables, image, train=False))
  both = apply(IMAGE)
  changed = apply(IMAGE.at[1].mul(-1.0))
  np.testing.assert_array_equal(both[0], changed[0])
  assert (both[1] != changed[1]).any()


def test_training_moves_the_running_statistics_and_evaluation_does_not(variables):
  @functools.partial(jax.jit, static_argnums=0)
  def moved(train):
    _, state = build(drop_path=0.0).apply(
      variables, IMAGE, train=train, mutable=["batch_stats"]
    )
    return jax.tree.map(
      lambda a, b: (a != b).any(), state["batch_stats"], variables["batch_stats"]
    )

  assert not any(jax.tree.leaves(moved(False)))
  assert all(jax.tree.leaves(moved(True)))


def test_full_rematerialisation_gives_the_same_gradients(variables_of):
  model = SVTR(mixers=("cg",), dims=(8,), heads=(2,), strides=())
  variables = variables_of(model, IMAGE, train=False)

  def loss(variables, remat):
    y = model.clone(remat=remat).apply(variables, IMAGE, train=False)
    return jnp.square(y - 1.0).mean()

  gradients = jax.jit(lambda v: [jax.grad(loss)(v, r) for r in ("none", "full")])
  for plain, ours in zip(*map(jax.tree.leaves, gradients(variables)), strict=True):
    np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_dropped_paths_change_training_only(variables):
  def apply(key, train):
    return build(drop_path=0.9).apply(
      variables, IMAGE, train=train, rngs={"dropout": key}, mutable=["batch_stats"]
    )[0]

  apply = jax.jit(apply, static_argnums=1)
  one, two = jax.random.key(0), jax.random.key(1)
  assert (apply(one, True) != apply(two, True)).any()
  assert (apply(one, False) == apply(two, False)).all()


def test_bfloat16_stays_close_to_float32(variables):
  @functools.partial(jax.jit, static_argnums=0)
  def apply(dtype):
    return build(dtype=dtype).apply(variables, IMAGE, train=False)

  half = apply(jnp.bfloat16)
  assert half.dtype == jnp.bfloat16
  # unit-variance outputs, 8 bits of mantissa, three blocks
  np.testing.assert_allclose(half.astype(jnp.float32), apply(jnp.float32), atol=0.15)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"heads": (2, 2, 2)}, "one entry per stage"),
    ({"mixers": ("c", "cx")}, "'cx' may hold only the letters c and g"),
  ],
)
def test_settings_that_disagree_are_refused(settings, message):
  model = build().clone(**settings)
  with pytest.raises(ValueError, match=message):
    model.init(jax.random.key(0), IMAGE, train=False)


def test_an_image_that_does_not_divide_is_refused_before_anything_is_computed():
  with pytest.raises(ValueError, match="20 x 24 pixels: rows must be a multiple of 8"):
    build().init(jax.random.key(0), jnp.zeros((1, 20, 24, 3)), train=False)
