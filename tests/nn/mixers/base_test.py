"""What every token mixer owes: causality, a cache that changes nothing, segments."""

import functools

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
from mdm.training.settings import Sharding
from mdm.training.sharding import make_mesh

EVERY = pytest.mark.parametrize("name", MIXERS)


def close(one, other, atol=1e-5):
  np.testing.assert_allclose(one, other, atol=atol)


@EVERY
def test_what_comes_later_changes_nothing_before_it(name):
  whole = run(name)
  for t in (1, 6, N - 1):
    later = run(name, X.at[:, t:].multiply(-2.0))
    close(later[:, :t], whole[:, :t], atol=1e-6)
    assert np.abs(later - whole)[:, t].max() > 1e-3


@functools.cache
def gradient(name):
  """Of the first 7 tokens' results by all inputs, under padding."""

  def energy(x, valid):
    return (compiled(name)(params_of(name), x, valid=valid)[:, :7] ** 2).sum()

  return jax.jit(jax.grad(energy))


@EVERY
def test_no_gradient_flows_to_what_comes_later(name):
  grad = gradient(name)(X, jnp.ones((B, N), bool))
  assert (grad[:, 7:] == 0).all() and (grad[:, 0] != 0).any()


@EVERY
def test_tokens_that_see_nothing_give_zero_and_finite_gradients(name):
  nothing = jnp.zeros((B, N), bool)
  assert (run(name, valid=nothing) == 0).all()
  assert jnp.isfinite(gradient(name)(X, nothing)).all()


@EVERY
@pytest.mark.parametrize(
  ("blocks", "is_fresh"),
  [([1] * N, False), ([6, 1, 6], False), ([6, *[1] * (N - 6)], True)],
)
def test_blocks_of_any_length_give_what_the_whole_sequence_gives(
  name, blocks, is_fresh
):
  close(extend_in(name, blocks, is_fresh=is_fresh)[0], run(name))


@EVERY
@pytest.mark.parametrize("is_fresh", [True, False])
def test_padding_is_seen_by_no_other_token_and_no_cache(name, is_fresh):
  whole = run(name, valid=VALID)
  close(extend_in(name, [6, 1, 6], valid=VALID, is_fresh=is_fresh)[0], whole)
  real = VALID[..., None]
  noisy = run(name, jnp.where(real, X, 9.0), valid=VALID)
  close(jnp.where(real, noisy - whole, 0.0), 0.0)


@EVERY
def test_a_beginning_may_end_in_padding_that_others_take_the_place_of(name):
  begin, step = compiled(name, "extend", 0), compiled(name, "extend")
  real = jnp.broadcast_to(jnp.arange(N) < 5, (B, N))
  cache = MIXERS[name].init_cache(B, N)
  _, cache = begin(params_of(name), jnp.where(real[..., None], X, 9), cache, valid=real)
  rest, start = [], 5
  for n in (1, 6, 1):
    some = jnp.ones((B, n), bool)
    out, cache = step(
      params_of(name),
      X[:, start : start + n],
      cache,
      start=jnp.asarray(start),
      valid=some,
    )
    rest.append(out)
    start += n
  close(jnp.concatenate(rest, axis=1), run(name)[:, 5:])


@EVERY
@pytest.mark.parametrize("is_fresh", [True, False])
def test_padding_of_all_rows_between_blocks_changes_nothing(name, is_fresh):
  valid = VALID.at[:, 3:8].set(False)
  whole = run(name, valid=valid)
  close(extend_in(name, [6, 1, 6], valid=valid, is_fresh=is_fresh)[0], whole)


@EVERY
def test_a_sequence_begun_again_forgets_what_its_cache_held(name):
  _, cache = extend_in(name, [6, 1, 6], x=-X)
  begin, step = compiled(name, "extend", 0), compiled(name, "extend")
  some = jnp.ones((B, 6), bool)
  one, cache = begin(params_of(name), X[:, :6], cache, valid=some)
  two, _ = step(params_of(name), X[:, 6:12], cache, start=jnp.asarray(6), valid=some)
  close(jnp.concatenate([one, two], axis=1), run(name)[:, :12])


@EVERY
def test_packed_segments_equal_separate_sequences(name):
  one, two = X[:, :8], X[:, 5:]
  segments = jnp.repeat(jnp.array([[3, 1]] * B), 8, axis=1)
  packed = run(name, jnp.concatenate([one, two], axis=1), segments=segments)
  apart = run(name, jnp.concatenate([one, two]))  # 2b 8 d
  close(packed, jnp.concatenate([apart[:B], apart[B:]], axis=1))


@pytest.mark.parametrize("name", sorted(MIXERS.keys() - {"full", "recent_full"}))
def test_a_sequence_cut_over_devices_is_mixed_as_on_one_and_so_are_gradients(name):
  x = jnp.concatenate([X, X[:, 3:6]], axis=1)  # 16 tokens on 4 devices
  valid = jnp.concatenate([VALID, VALID[:, :3]], axis=1)
  segments = jnp.repeat(jnp.asarray([[1, 2], [3, 1]]), jnp.asarray([6, 10]), axis=1)

  def energy(params, x):
    mixed = MIXERS[name].apply(params, x, valid=valid, segments=segments)
    return (mixed * jnp.cos(jnp.arange(D))).sum(), mixed

  both = jax.value_and_grad(energy, argnums=(0, 1), has_aux=True)
  (_, whole), slopes = jax.jit(both)(params_of(name), x)
  with jax.set_mesh(make_mesh(Sharding("sequence", 1, 2, 1, 4))):
    (_, parts), found = jax.jit(both)(params_of(name), x)
  close(parts, whole, atol=1e-6)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(slopes), strict=True):
    close(a, b)


@pytest.mark.parametrize("name", ["topw", "latent", "sparse"])
def test_only_distances_matter_to_rotation(name):
  positions = jnp.arange(100, 100 + N, dtype=jnp.int32)[None]
  close(run(name, positions=positions), run(name), atol=1e-4)
  assert (run(name, positions=2 * positions) != run(name)).any()


@pytest.mark.parametrize("name", ["dense", "window", "topw"])
def test_grouped_heads_equal_repeated_ones(name):
  params, shared = params_of(name)["params"], ("key", "value")
  more = {n: {"kernel": jnp.repeat(params[n]["kernel"], 2, 1)} for n in shared}
  if name == "topw":  # a score reads the values of all heads, now twice
    dt = jnp.repeat(jnp.repeat(params["dt"]["kernel"], 2, 0), 2, 2) / 2
    more |= {"dt": {"kernel": dt}, "A": jnp.repeat(params["A"], 2)}
  model = MIXERS[name].clone(kv_heads=None)
  close(jax.jit(model.apply)({"params": params | more}, X), run(name))


@EVERY
def test_half_precision_is_finite_and_near(name):
  model = MIXERS[name].clone(dtype=jnp.bfloat16)
  out = jax.jit(model.apply)(params_of(name), X)
  assert out.dtype == jnp.bfloat16
  assert np.abs(out.astype(jnp.float32) - run(name)).mean() < 0.1


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


@EVERY
def test_no_two_leaves_of_a_cache_share_memory(name):
  leaves = jax.tree.leaves(MIXERS[name].init_cache(B, N))
  assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


@EVERY
def test_more_tokens_than_a_cache_holds_are_refused(name):
  cache = MIXERS[name].init_cache(B, 3)
  with pytest.raises(ValueError, match="13 tokens from position 0 do not fit in a"):
    jax.eval_shape(compiled(name, "extend", 0), params_of(name), X, cache)


def test_no_rotation_without_positions():
  model = DenseAttention(**SHAPE, positions="none")
  shifted = jnp.arange(5, 5 + 2 * N, 2, dtype=jnp.int32)[None]
  out = model.apply(params_of("dense"), X)
  close(model.apply(params_of("dense"), X, positions=shifted), out, atol=0)
