"""Images as tokens: patches there and back, time, padding, and the start."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.dit import DiT, grid_sinusoids

SIZE, N = (4, 6, 3), 72
TOKENS = jax.random.randint(jax.random.key(0), (2, N), 0, 12)  # 11 is MASK here
TOKENS = jnp.minimum(TOKENS, 11)
T = jnp.array([0.2, 0.9])


def build(**settings):
  small = {"vocab_size": 11, "size": SIZE, "patch": 2, "value_width": 4, "width": 16,
           "depth": 2, "heads": 2}  # fmt: skip
  return DiT(**small | settings)


@pytest.fixture(scope="module")
def timed(variables_of):
  model = build()
  return jax.jit(model.apply), variables_of(model, TOKENS, T)


@pytest.fixture(scope="module")
def timeless(variables_of):
  model = build(time="none")
  return jax.jit(model.apply), variables_of(model, TOKENS)


def test_cutting_into_patches_and_joining_is_the_identity():
  model = build()
  values = jnp.arange(2 * N * 5).reshape(2, N, 5)
  patches = model._cut(values)
  assert patches.shape == (2, 6, 12 * 5)
  image = values.reshape(2, *SIZE, 5)
  np.testing.assert_array_equal(
    patches[1, 4],
    image[1, 2:4, 2:4].reshape(-1),  # patch row 1, column 1
  )
  logits = patches.reshape(2, 6, 12, 5).astype(jnp.float32)
  np.testing.assert_array_equal(model._join(logits), values)


def test_logits_are_float32_one_set_for_every_value(timed):
  apply, variables = timed
  logits = apply(variables, TOKENS, T)
  assert logits.shape == (2, N, 11) and logits.dtype == jnp.float32
  assert len(np.unique(np.asarray(logits[0]).round(4), axis=0)) == N


def test_a_fresh_network_finds_every_value_equally_likely(timed):
  def head():
    params = build().init(jax.random.key(0), TOKENS, T)["params"]
    return nn.meta.unbox(params["head"])

  zeros = jax.jit(head)()
  assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(zeros))
  apply, variables = timed
  params = variables["params"] | {"head": zeros}
  assert (apply({"params": params}, TOKENS, T) == 0).all()


def test_time_is_heard_or_ignored(timed, timeless):
  for (apply, variables), hears in ((timed, True), (timeless, False)):
    same = (apply(variables, TOKENS, T) == apply(variables, TOKENS, 1 - T)).all()
    assert bool(same) is not hears


def test_every_value_depends_on_every_other(timeless):
  apply, variables = timeless
  before = apply(variables, TOKENS)
  after = apply(variables, TOKENS.at[0, N - 1].set((TOKENS[0, N - 1] + 1) % 11))
  assert (jnp.abs(after - before)[0].max(-1) > 1e-7).all()
  np.testing.assert_array_equal(after[1], before[1])


def test_what_stands_on_padding_changes_nothing(timeless):
  apply, variables = timeless
  valid = jnp.zeros((2, *SIZE), bool).at[:, :2, :3].set(True).reshape(2, N)
  other = jnp.where(valid, TOKENS, (TOKENS + 1) % 11)
  np.testing.assert_array_equal(
    apply(variables, other, valid=valid), apply(variables, TOKENS, valid=valid)
  )


def test_patches_know_their_row_and_column():
  table = np.asarray(grid_sinusoids(2, 3, 8))
  assert table.shape == (6, 8) and len(np.unique(table, axis=0)) == 6
  np.testing.assert_array_equal(table[3:, :4], table[[3] * 3, :4])  # one row
  np.testing.assert_array_equal(table[[1, 4], 4:], table[[1, 1], 4:])  # one column


def test_cifar_sized_images_fit_and_the_size_is_that_of_a_small_dit():
  model = DiT(scan=True)
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 3072), int), jnp.zeros(1)
  )
  # DiT-S has 33 M; the head of 12 x 256 logits adds 1.2 M.
  assert 33e6 < sum(leaf.size for leaf in jax.tree.leaves(shapes)) < 36e6


@pytest.mark.parametrize(
  ("settings", "length", "message"),
  [
    ({}, 71, "71 tokens are no image"),
    ({"patch": 3}, N, "patch = 3 must divide 4 x 6"),
    ({"width": 18}, N, "4 the width 18"),
    ({"time": "ada"}, N, "did you mean 'adaln'"),
    ({"time": "adaln"}, N, "needs a t"),
  ],
)
def test_settings_that_cannot_be_are_named(settings, length, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(
      build(**settings).init, jax.random.key(0), jnp.zeros((1, length), int)
    )
