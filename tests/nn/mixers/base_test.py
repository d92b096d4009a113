"""What every token mixer owes: causality, a cache that changes nothing, segments."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixers import (
  MIXERS,
  SHAPE,
  VALID,
  B,
  D,
  N,
  X,
  compiled,
  extend_in,
  params_of,
  run,
)

from mdm.nn.mixers.dense import DenseAttention

EVERY = pytest.mark.parametrize("name", MIXERS)


def close(one, other, atol=1e-5):
  np.testing.assert_allclose(one, other, atol=atol)


@EVERY
def test_what_comes_later_changes_nothing_before_it(name):
  whole = run(name)
  for t in (1, 6, N - 1):
    close(run(name, X.at[:, t:].multiply(-2.0))[:, :t], whole[:, :t], atol=1e-6)
  assert np.abs(run(name, X.at[:, 0].add(1.0)) - whole)[:, -1].max() >= 0


@EVERY
def test_no_gradient_flows_to_what_comes_later(name):
  t = 7

  def early(x):
    return (compiled(name)(params_of(name), x)[:, :t] ** 2).sum()

  grad = jax.grad(early)(X)
  assert (grad[:, t:] == 0).all() and (grad[:, 0] != 0).any()


@EVERY
@pytest.mark.parametrize(
  ("blocks", "is_fresh"),
  [([1] * N, False), ([5, 1, 7], False), ([5, *[1] * (N - 5)], True), ([N], True)],
)
def test_blocks_of_any_length_give_what_the_whole_sequence_gives(
  name, blocks, is_fresh
):
  close(extend_in(name, blocks, is_fresh=is_fresh)[0], run(name))


@EVERY
@pytest.mark.parametrize("is_fresh", [True, False])
def test_padding_in_a_cache_is_seen_by_no_later_token(name, is_fresh):
  whole = run(name, valid=VALID)
  close(extend_in(name, [5, 1, 7], valid=VALID, is_fresh=is_fresh)[0], whole)
  noise = jnp.where(VALID[..., None], X, 9.0)
  close(jnp.where(VALID[..., None], run(name, noise, valid=VALID) - whole, 0.0), 0.0)


@EVERY
def test_a_sequence_begun_again_forgets_what_its_cache_held(name):
  _, cache = extend_in(name, [N], x=-X, is_fresh=True)
  out, _ = compiled(name, "extend", 0)(params_of(name), X, cache)
  close(out, run(name))


@EVERY
def test_packed_segments_equal_separate_sequences(name):
  segments = jnp.broadcast_to(jnp.where(jnp.arange(N) < 8, 3, 1), (B, N))
  packed = run(name, segments=segments)
  first, second = (run(name, x) for x in (X[:, :8], X[:, 8:]))
  close(packed, jnp.concatenate([first, second], axis=1))


@EVERY
def test_tokens_that_see_nothing_give_zero_and_finite_gradients(name):
  valid = jnp.zeros((B, N), bool)
  out, grads = jax.value_and_grad(lambda x: (run(name, x, valid=valid) ** 2).sum())(X)
  assert out == 0 and jnp.isfinite(grads).all()


@EVERY
def test_only_distances_matter_to_rotation(name):
  positions = 1000 + jnp.arange(N, dtype=jnp.int32)[None]
  close(run(name, positions=positions), run(name), atol=2e-4)
  assert (run(name, positions=2 * positions) != run(name)).any()


@EVERY
def test_half_precision_is_finite_and_near(name):
  model = MIXERS[name].clone(dtype=jnp.bfloat16)
  out = jax.jit(model.apply)(params_of(name), X)
  assert out.dtype == jnp.bfloat16 and jnp.isfinite(out.astype(jnp.float32)).all()


@EVERY
def test_every_parameter_carries_logical_names(name):
  boxed = jax.eval_shape(MIXERS[name].init, jax.random.key(0), X)
  specs = nn.get_partition_spec(boxed)
  leaves = jax.tree.leaves(
    specs, is_leaf=lambda x: isinstance(x, jax.sharding.PartitionSpec)
  )
  assert {axis for spec in leaves for axis in spec} <= {"embed", "heads", "kv", None}
  assert all(any(spec) for spec in leaves)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"heads": 4, "kv_heads": 3}, "heads = 4 must be a multiple of kv_heads = 3"),
    ({"heads": 3}, "divide the tokens' width = 8"),
    ({"heads": 2, "positions": "rotary"}, "positions = 'rotary' is unknown"),
    ({"heads": 2, "backend": "cuda"}, "backend = 'cuda' is none of"),
    ({"heads": 8}, "head width = 1 is odd"),
  ],
)
def test_settings_that_cannot_be_are_named(settings, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(DenseAttention(**settings).init, jax.random.key(0), X)


def test_a_cache_needs_a_width_and_room():
  with pytest.raises(ValueError, match="head_width = None leaves the cache's width"):
    DenseAttention(2).init_cache(B, N)
  model = DenseAttention(2)
  assert model.init_cache(B, N, D).pairs.key.shape == (B, N, 2, 4)
  for name in MIXERS:
    with pytest.raises(ValueError, match="13 tokens from position 0 do not fit in a"):
      cache = MIXERS[name].init_cache(B, 3)
      jax.eval_shape(compiled(name, "extend", 0), params_of(name), X, cache)


def test_no_rotation_without_positions():
  model = DenseAttention(**SHAPE, positions="none")
  shifted = jnp.arange(5, 5 + 2 * N, 2, dtype=jnp.int32)[None]
  out = model.apply(params_of("dense"), X)
  close(model.apply(params_of("dense"), X, positions=shifted), out, atol=0)
