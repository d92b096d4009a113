import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.kernels.eviction import eviction_times, keep_recent
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import Intervals, causal_intervals, window_intervals
from mdm.kernels.sharded import attend_gathered, attend_shard, attend_sharded

B, N, H, G, D = 2, 32, 4, 2, 8


def make_arrays(seed=0):
  keys = jax.random.split(jax.random.key(seed), 6)
  query = jax.random.normal(keys[0], (B, N, H, D))
  key, value = (jax.random.normal(k, (B, N, G, D)) for k in keys[1:3])
  score = jax.random.randint(keys[3], (B, G, N), 0, 9).astype(jnp.float32)  # ties
  bias = jax.random.normal(keys[4], (B, G, N))
  return query, key, value, score, bias, jax.random.normal(keys[5], (B, N, H, D))


def documents():
  """Documents that end inside shards and at their edges, one over several shards."""
  segments = jnp.asarray([[1] * 20 + [2] * 4 + [3] * 8, [5] * 3 + [4] * 26 + [7] * 3])
  valid = jnp.ones((B, N), bool).at[0, 28:].set(False).at[1, 7:10].set(False)
  return {"segments": segments, "valid": valid}


def attend_whole(query, key, value, score, bias, width, recent=0, **which):
  """The same on one device."""
  end = eviction_times(score, width, chunk=8, **which)
  end = keep_recent(end, recent, **which)
  intervals = Intervals(jnp.arange(N)[None, None], end)
  return interval_attention(
    query, key, value, intervals, bias=bias, width=width + recent
  )


def mesh_of(*sizes, names=("sequence",)):
  devices = jax.devices()[: np.prod(sizes)]
  auto = (jax.sharding.AxisType.Auto,) * len(sizes)
  return jax.make_mesh(sizes, names, devices=devices, axis_types=auto)


def both_ways(shards, width, **which):
  """(out, lse, gradients) of the whole and of the shards."""
  *arrays, weight = make_arrays()

  def measure(attend, arrays):
    """What gradients are taken of: all results count."""
    out, lse = attend(*arrays)
    return (out * weight).sum() + jnp.where(lse < 99, lse, 0).sum(), (out, lse)

  def whole(query, key, value, score, bias):
    return attend_whole(query, key, value, score, bias, width, **which)

  def parts(query, key, value, score, bias):
    return attend_sharded(
      query, key, value, score, bias=bias, width=width, axis="sequence",
      mesh=mesh_of(shards), **which,
    )  # fmt: skip

  return tuple(
    jax.jit(jax.value_and_grad(lambda x, a=a: measure(a, x), has_aux=True))(arrays)
    for a in (whole, parts)
  )


@pytest.mark.parametrize(
  ("shards", "width", "which"),
  [
    (2, 5, {}),
    (4, 5, documents()),
    (8, 3, {}),
    (8, 10, documents()),
    (4, 5, {"recent": 1}),
    (4, 5, documents() | {"recent": 6}),
    (8, 3, {"recent": 11}),
    (8, 3, {"recent": 9}),
    (8, 2, documents() | {"recent": 99}),
  ],
  ids=[
    "2",
    "4 packed",
    "8",
    "8 packed, wider than a shard",
    "4 and themselves",
    "4 packed and the recent",
    "8 and the recent of three shards",
    "8 and the recent of two whole shards",
    "8 packed and all",
  ],
)
def test_shards_give_what_one_device_gives_and_its_gradients(shards, width, which):
  ((_, whole), grads), ((_, parts), found) = both_ways(shards, width, **which)
  np.testing.assert_allclose(parts[0], whole[0], atol=1e-6)
  np.testing.assert_allclose(parts[1], whole[1], atol=1e-6)
  for name, a, b in zip(
    ("query", "key", "value", "score", "bias"), found, grads, strict=True
  ):
    np.testing.assert_allclose(a, b, atol=2e-6, rtol=2e-6, err_msg=name)
  assert not np.any(found[3]) and np.any(found[4])


def test_equal_scores_are_a_window_and_the_batch_may_be_sharded_too():
  query, key, value, score, *_ = make_arrays()
  equal = jnp.zeros_like(score)
  with jax.set_mesh(mesh_of(2, 4, names=("data", "sequence"))):
    found = jax.jit(
      lambda *arrays: attend_sharded(*arrays, equal, width=6, axis="sequence").out,
      in_shardings=jax.P("data", "sequence"),
    )(*jax.device_put((query, key, value), jax.P("data", "sequence")))
  near = jax.nn.dot_product_attention(
    query, key, value, is_causal=True, local_window_size=(5, 0)
  )
  np.testing.assert_allclose(found, near, atol=1e-6)


def test_without_a_width_the_recent_are_a_window_and_only_neighbours_send():
  query, key, value, score, *_ = make_arrays()
  near = window_intervals(N, 6)
  expected = interval_attention(query, key, value, near, width=6).out

  def attend(*arrays):
    return attend_sharded(*arrays, score, width=0, recent=6, axis="sequence").out

  with jax.set_mesh(mesh_of(8)):
    traced = str(jax.make_jaxpr(attend)(query, key, value))
    found = jax.jit(attend)(query, key, value)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  assert "ppermute" in traced and "all_gather" not in traced


@pytest.mark.parametrize("count", [N, N // 2, 5])
def test_gathered_keys_serve_any_mask_and_gradients_come_back(count):
  query, key, value, _, bias, weight = make_arrays()
  key, value, bias = key[:, :count], value[:, :count], bias[..., :count]
  start = causal_intervals(N).start[..., :count]
  intervals = Intervals(start, start + 9)
  positions = jnp.arange(N) if count < N else None  # of the queries

  def whole(*arrays):
    options = {"bias": arrays[3], "positions": positions, "scale": 0.3}
    return interval_attention(*arrays[:3], intervals, **options).out

  def parts(*arrays):
    options = {"bias": arrays[3], "positions": positions, "scale": 0.3}
    return attend_gathered(*arrays[:3], intervals, axis="sequence", **options).out

  def both(attend):
    def measure(*arrays):
      out = attend(*arrays)
      return (out * weight).sum(), out

    grad = jax.value_and_grad(measure, argnums=(0, 1, 2, 3), has_aux=True)
    return jax.jit(grad)(query, key, value, bias)

  (_, expected), slopes = both(whole)
  with jax.set_mesh(mesh_of(2, 4, names=("data", "sequence"))):
    (_, out), found = both(parts)
  np.testing.assert_allclose(out, expected, atol=1e-6)
  for a, b in zip(found, slopes, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-6, rtol=2e-6)


def test_it_works_inside_a_model_under_shard_map():
  *arrays, _ = make_arrays()
  mesh = mesh_of(2, 4, names=("data", "sequence"))

  def model(query, key, value, score, bias):
    """Layers of a model would stand around this."""
    return attend_shard(
      query, key, value, score, bias=bias, width=5, axis="sequence"
    ).out

  row, last = jax.P("data", "sequence"), jax.P("data", None, "sequence")
  sharded = jax.shard_map(
    model, mesh=mesh, in_specs=(row, row, row, last, last), out_specs=row,
    check_vma=False,
  )  # fmt: skip
  whole = jax.jit(attend_whole, static_argnums=5)(*arrays, 5).out
  found = jax.jit(sharded)(*arrays)
  np.testing.assert_allclose(found, whole, atol=1e-6)


def test_what_travels_grows_with_width_and_not_with_the_sequence():
  width = 3

  def moved(n, recent=0):
    """Values in all results of what is sent in the compiled program."""
    shape = jax.ShapeDtypeStruct((1, n, 1, D), jnp.float32)
    score = jax.ShapeDtypeStruct((1, 1, n), jnp.float32)
    traced = jax.make_jaxpr(
      lambda q, s: attend_sharded(
        q, q, q, s, width=width, recent=recent, axis="sequence", mesh=mesh_of(4)
      )
    )(shape, score)
    (inner,) = (e for e in traced.eqns if e.primitive.name == "shard_map")
    return sum(
      v.aval.size
      for e in inner.params["jaxpr"].eqns
      if e.primitive.name in ("all_gather", "ppermute")
      for v in e.outvars
    )

  assert moved(16) == moved(64) == 4 * width * (2 * D + 3) + 4
  near = 2 * (2 * D + 3 + 1)  # two rows from the neighbour, with their runs
  near += width * (2 * D + 3) + 1  # and the best of the neighbour before these
  assert moved(32, recent=3) == moved(64, recent=3) == moved(64) + near


def test_bad_requests_name_the_rule():
  query, key, value, score, *_ = make_arrays()
  options = {"width": 4, "axis": "sequence"}
  with pytest.raises(ValueError, match=r"no axis of the mesh, which has none"):
    attend_sharded(query, key, value, score, **options)
  with (
    jax.set_mesh(mesh_of(3)),
    pytest.raises(ValueError, match="32 tokens do not divide into 3 shards"),
  ):
    attend_sharded(query, key, value, score, **options)
  with (
    jax.set_mesh(mesh_of(2)),
    pytest.raises(ValueError, match="width = 0 lets a query keep nothing"),
  ):
    attend_sharded(query, key, value, score, **options | {"width": 0})
  with (
    jax.set_mesh(mesh_of(2)),
    pytest.raises(ValueError, match="recent = -1 counts no tokens"),
  ):
    attend_sharded(query, key, value, score, **options | {"recent": -1})
