"""The causal network around a mixer, with one that needs no attention."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.decoder import Decoder
from mdm.nn.layers import Initializer, Linear

V, N, D = 5, 6, 8
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, V, (2, N)))


class Sum(nn.Module):
  """Each token becomes a linear map of the sum of those so far."""

  heads: int = 2
  head_width: int | None = None
  kernel_init: Initializer = nn.initializers.lecun_normal()

  def __call__(self, x, *, positions=None, valid=None, segments=None):
    if segments is not None:
      before = jnp.tril(segments[:, :, None] == segments[:, None])
      return self._map(before.astype(x.dtype) @ x)
    return self._map(jnp.cumsum(self._real(x, valid), axis=1))

  def init_cache(self, batch, length):
    return jnp.zeros((batch, 1, self.heads * self.head_width))

  def extend(self, x, cache, *, start, valid=None):
    total = cache + jnp.cumsum(self._real(x, valid), axis=1)
    return self._map(total), total[:, -1:]

  def _real(self, x, valid):
    return x if valid is None else x * valid[..., None]

  @nn.compact
  def _map(self, x):
    axes = ("embed", "mlp")
    return Linear(x.shape[-1:], axes, use_bias=False, kernel_init=self.kernel_init)(x)


def make(**settings):
  return Decoder(V, Sum(), **{"width": D, "depth": 2, "mlp_ratio": 2.0} | settings)


@functools.cache
def weights(**settings):
  values = jax.jit(make(**settings).init)(jax.random.key(0), TOKENS)
  return jax.tree.map(lambda x: x if x.ndim == 1 else 20 * x, nn.unbox(values))


@functools.cache
def program(method="__call__", **settings):
  return jax.jit(functools.partial(make(**settings).apply, method=method))


def logits(tokens=TOKENS, values=None, given=(), **settings):
  values = weights(**settings) if values is None else values
  return program(**settings)(values, tokens, **dict(given))


def test_a_block_is_the_published_equation():
  values = weights()["params"]
  a = values["block_0"] | {"mixer_scale": jnp.linspace(0.5, 1.5, D)}
  a |= {"mlp_scale": jnp.linspace(1.5, 0.5, D)}
  got = logits(values={"params": values | {"block_0": a, "block_1": a}})

  def norm(x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)

  x = values["embedding"][TOKENS]
  for _ in range(2):
    mixed = jnp.cumsum(norm(x), axis=1) @ a["mixer"]["Linear_0"]["kernel"]
    y = a["mixer_scale"] * x + mixed
    gate, up, down = (a["mlp"][k]["kernel"] for k in ("gate", "up", "down"))
    x = a["mlp_scale"] * y + (jax.nn.silu(norm(y) @ gate) * (norm(y) @ up)) @ down
  expected = norm(x) @ values["embedding"][:V].T
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_tables_and_maps_start_with_the_published_deviation():
  values = jax.jit(make(width=64).init)(jax.random.key(0), TOKENS)["params"]
  for path, leaf in jax.tree_util.tree_leaves_with_path(nn.unbox(values)):
    if leaf.ndim == 1:
      assert (leaf == 1).all()
    else:
      assert leaf.std() == pytest.approx(0.02, rel=0.15), path


@pytest.mark.parametrize(
  "settings",
  [
    {"scan": True},
    {"remat": "full"},
    {"scan": True, "remat": "dots"},
  ],
  ids=str,
)
def test_how_layers_are_compiled_changes_neither_logits_nor_gradients(settings):
  values = weights()
  other = values["params"]
  if "scan" in settings:
    blocks = [other[f"block_{i}"] for i in range(2)]
    rest = {k: v for k, v in other.items() if not k.startswith("block_")}
    other = rest | {"blocks": jax.tree.map(lambda *x: jnp.stack(x), *blocks)}

  def value(embedding, values, **settings):
    values = {"params": values | {"embedding": embedding}}
    return jnp.square(make(**settings).apply(values, TOKENS)).sum()

  grad = jax.jit(jax.value_and_grad(value), static_argnames=list(settings))
  table = other["embedding"]
  plain, got = grad(table, values["params"]), grad(table, other, **settings)
  np.testing.assert_allclose(got[0], plain[0], rtol=1e-5)
  np.testing.assert_allclose(got[1], plain[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("sizes", [(6,), (1, 2, 3)])
def test_reading_in_parts_is_reading_at_once(scan, sizes):
  values, cache, parts, start = weights(scan=scan), make().init_cache(2, N), [], 0
  extend = program("extend", scan=scan, remat="full")
  for size in sizes:
    part, cache = extend(values, TOKENS[:, start : start + size], cache, start=start)
    parts.append(part)
    start += size
  whole = logits(scan=scan)
  np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, rtol=1e-4, atol=1e-4)


def test_masks_of_the_batch_reach_every_mixer():
  valid = jnp.ones((2, N), bool).at[:, 3].set(False)
  segments = jnp.asarray([[0, 0, 0, 1, 1, 1]] * 2)
  hidden = TOKENS.at[:, 3].add(1) % V
  padded, other = (logits(t, given={"valid": valid}) for t in (TOKENS, hidden))
  assert (padded[:, 4:] == other[:, 4:]).all()
  packed = logits(given={"segments": segments})
  np.testing.assert_allclose(packed[:, 3:], logits(TOKENS[:, 3:]), atol=1e-4)


def test_a_network_with_a_token_for_the_beginning_has_no_further_row():
  assert weights()["params"]["embedding"].shape == (V + 1, D)
  own = weights(bos_id=0, ties_head=False)["params"]
  assert own["embedding"].shape == (V, D)
  assert own["head"].shape == (D, V)
  assert logits(bos_id=0, ties_head=False).shape == (2, N, V)


def test_plain_residuals_and_dropout_are_settings():
  assert "mixer_scale" not in weights(scales_residual=False)["params"]["block_0"]
  drop = make(dropout=0.5)
  dropped = drop.apply(
    weights(), TOKENS, train=True, rngs={"dropout": jax.random.key(0)}
  )
  assert not jnp.allclose(dropped, logits())


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"bos_id": V}, "bos_id = 5 is none of the 5 classes"),
    ({"mlp": "gelu"}, "mlp = 'gelu' is unknown"),
    ({"width": 9}, "heads = 2 must divide width = 9"),
    ({"remat": "half"}, "remat = 'half'"),
  ],
)
def test_wrong_settings_are_errors(settings, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(make(**settings).init, jax.random.key(0), TOKENS)
