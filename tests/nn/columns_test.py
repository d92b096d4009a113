import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.columns import Columns, Neighbours, column_windows

IMAGE = jax.random.uniform(jax.random.key(0), (2, 6, 24, 1), minval=-1.0)


def build(**settings):
  return Columns(width=8, depth=2, heads=2, **settings)


def apply(model, variables, image=IMAGE):
  return jax.jit(lambda image: model.apply(variables, image, train=False))(image)


@pytest.mark.parametrize(("window", "stride"), [(8, 4), (4, 4), (6, 2), (9, 3)])
def test_windows_are_the_columns_around_each_step(window, stride):
  windows = column_windows(IMAGE, window, stride)
  left = (window - stride) // 2
  padded = np.pad(IMAGE, ((0, 0), (0, 0), (left, window), (0, 0)))
  assert windows.shape == (2, 24 // stride, 6 * window)
  for m in range(24 // stride):
    expected = padded[:, :, m * stride : m * stride + window]
    np.testing.assert_array_equal(
      np.sort(windows[:, m]), np.sort(expected.reshape(2, -1))
    )


def test_every_window_lists_its_pixels_in_the_same_order():
  shifted = jnp.roll(IMAGE, 4, axis=2)
  one, other = column_windows(IMAGE, 8, 4), column_windows(shifted, 8, 4)
  np.testing.assert_array_equal(one[:, 1:4], other[:, 2:5])


def test_one_token_per_stride_for_images_of_any_width_with_the_same_weights(
  variables_of,
):
  model = build()
  variables = variables_of(model, IMAGE, train=False)
  wide = jnp.concatenate([IMAGE, IMAGE], axis=2)
  for image, tokens in ((IMAGE, 6), (wide, 12)):
    shape = jax.eval_shape(functools.partial(apply, model, variables), image).shape
    assert shape == (2, tokens, model.width)


def test_a_token_without_blocks_sees_its_window_only(variables_of):
  model = build().clone(depth=0)
  variables = variables_of(model, IMAGE, train=False)
  changed = IMAGE.at[:, :, 9].add(1.0)
  moved = apply(model, variables, changed) != apply(model, variables)
  # column 9 lies in the windows of tokens 1 (2..9) and 2 (6..13)
  assert moved.any((0, 2)).tolist() == [False, True, True, False, False, False]


def test_neighbours_see_one_column_to_each_side(variables_of):
  layer = Neighbours()
  x = jax.random.normal(jax.random.key(1), (2, 7, 8))
  variables = variables_of(layer, x, train=False)
  run = jax.jit(lambda x: layer.apply(variables, x, train=False))
  moved = run(x.at[:, 3].multiply(-1.0)) != run(x)
  assert moved.any((0, 2)).tolist() == [2 <= m <= 4 for m in range(7)]


@pytest.mark.parametrize("positions", ["sinusoid", "learned"])
def test_positions_tell_equal_columns_apart(variables_of, positions):
  model = build(positions=positions)
  variables = variables_of(model, IMAGE, train=False)
  y = apply(model, variables, jnp.zeros_like(IMAGE))
  assert (y[:, 1] != y[:, 2]).any()


def test_a_stem_halves_the_columns_before_the_windows(variables_of):
  model = build(stem=(4, 4), window=2, stride=1)
  variables = variables_of(model, IMAGE, train=False)
  assert apply(model, variables).shape == (2, 6, 8)
  assert variables["params"]["embed"]["kernel"].shape == (2 * 2 * 4, 8)


def test_scanned_blocks_train_in_bfloat16_with_float32_parameters(variables_of):
  model = build(scan=True, remat="dots", dropout=0.1, dtype=jnp.bfloat16)
  variables = variables_of(model, IMAGE, train=False)

  def loss(variables):
    y = model.apply(variables, IMAGE, train=True, rngs={"dropout": jax.random.key(0)})
    assert y.dtype == jnp.bfloat16
    return jnp.square(y.astype(jnp.float32) - 1.0).mean()

  for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(variables)):
    assert leaf.dtype == jnp.float32
    assert jnp.isfinite(leaf).all()


def test_settings_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match="stride = 4 must divide window = 6"):
    column_windows(IMAGE, 6, 4)
  with pytest.raises(ValueError, match="the 24 columns"):
    column_windows(IMAGE, 10, 5)
  with pytest.raises(ValueError, match=r"choose one of .*learned"):
    build(positions="rotary").init(jax.random.key(0), IMAGE, train=False)


def test_neighbours_reach_one_column_per_layer():
  model = Columns(width=8, depth=0, heads=2, window=4, neighbours=2)
  variables = jax.jit(functools.partial(model.init, train=False))(
    jax.random.key(1), IMAGE
  )
  changed = apply(model, variables, IMAGE.at[:, :, 0].add(1.0))
  moved = changed != apply(model, variables)
  assert moved.any((0, 2)).tolist() == [True, True, True, False, False, False]
