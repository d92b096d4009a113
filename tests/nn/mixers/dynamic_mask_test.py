"""Dynamic mask attention against a brute force in NumPy, and its gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixers import MIXERS, SHAPE, TOPW, B, D, N, W, X, extend_in, params_of

from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention
from mdm.nn.mixers.window import WindowAttention

PLAIN = DynamicMaskAttention(4, 2, 4, window=W, positions="none")
LOG = PLAIN.clone(bias_mode="log")
NEAR = PLAIN.clone(recent=3)


def draw():
  """Parameters of `PLAIN` in float64, and inputs."""
  rng = np.random.default_rng(2)
  shapes = {"query": (D, 4, 4), "key": (D, 2, 4), "value": (D, 2, 4), "dt": (2, 4, 2)}
  params = {n: rng.normal(size=s) * 0.5 for n, s in shapes.items()}
  params |= {"out": rng.normal(size=(4, 4, D)) * 0.5, "A": np.array([0.9, -0.7])}
  return params, np.asarray(X, np.float64)


def as_module(params):
  """The same parameters as the module has them."""
  return {
    "params": {
      n: jnp.asarray(p, jnp.float32)
      if n == "A"
      else {"kernel": jnp.asarray(p, jnp.float32)}
      for n, p in params.items()
    }
  }


def brute_force(params, x, mode="exp", *, recent=0, scored=None, is_causal_first=True):
  """The paper's equations token by token; `scored`: values that scores are made of."""
  query, key, value = (
    np.einsum("bnd,dhk->bnhk", x, params[n]) for n in ("query", "key", "value")
  )
  z = np.einsum("bngk,gkf->bnf", value if scored is None else scored, params["dt"])
  score = params["A"] * np.log1p(np.exp(z))  # b n g
  bias = np.exp(score) if mode == "exp" else score
  mixed = np.zeros_like(query)
  for b, i, h in np.ndindex(*query.shape[:3]):
    g, keys = h // 2, range(i + 1 if is_causal_first else x.shape[1])
    old = [j for j in keys if not recent or j <= i - recent]
    best = sorted(old, key=lambda j: (-score[b, j, g], -j))[:W]
    best = [j for j in best if j <= i] + list(range(max(0, i + 1 - recent), i + 1))
    if best:
      logit = key[b, best, g] @ query[b, i, h] / 2 + bias[b, best, g]
      share = np.exp(logit - logit.max())
      mixed[b, i, h] = share / share.sum() @ value[b, best, g]
  return np.einsum("bnhk,hkd->bnd", mixed, params["out"])


@pytest.mark.parametrize("model", [PLAIN, LOG, NEAR], ids=["exp", "log", "recent"])
def test_the_mixer_is_the_papers_equations(model):
  params, x = draw()
  out = jax.jit(model.apply)(as_module(params), X)
  wanted = brute_force(params, x, model.bias_mode, recent=model.recent)
  np.testing.assert_allclose(out, wanted, atol=1e-5)


def test_choosing_before_the_causal_cut_would_look_ahead():
  params, x = draw()
  changed = x.copy()
  changed[:, 9:] = -3 * changed[:, 9:]
  leaks, safe = (
    np.abs(
      brute_force(params, x, is_causal_first=first)
      - brute_force(params, changed, is_causal_first=first)
    )[:, :9].max()
    for first in (False, True)
  )
  assert leaks > 0.1 and safe == 0


def differences(params, x, name, mode, **given):
  """Slopes of sum(out^2) by central differences; scores see `value` too, or do not."""
  grad = np.zeros_like(params[name])
  for index in np.ndindex(grad.shape):
    ends = []
    for step in (1e-6, -1e-6):
      moved = params[name].copy()
      moved[index] += step
      out = brute_force(params | {name: moved}, x, mode, **given)
      ends.append((out**2).sum())
    grad[index] = (ends[0] - ends[1]) / 2e-6
  return grad


def slopes(model, params, x):
  """Automatic gradients of the same sum."""

  def energy(params):
    return (model.apply(params, jnp.asarray(x, jnp.float32)) ** 2).sum()

  return jax.jit(jax.grad(energy))(as_module(params))["params"]


@pytest.mark.parametrize("model", [PLAIN, LOG], ids=["exp", "log"])
def test_gradients_are_those_of_finite_differences(model):
  params, x = draw()
  x = x[:1, :8]
  grads = slopes(model, params, x)
  for name in ("A", "dt", "value"):
    wanted = differences(params, x, name, model.bias_mode)
    found = grads[name] if name == "A" else grads[name]["kernel"]
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4)
  scored = np.einsum("bnd,dhk->bnhk", x, params["value"])  # the score's part held still
  mixed_only = differences(params, x, "value", model.bias_mode, scored=scored)
  assert np.abs(mixed_only - wanted).max() > 0.05


def test_without_a_slope_only_the_slope_learns():
  params, x = draw()
  grads = slopes(PLAIN, params | {"A": np.zeros(2)}, x)
  assert (grads["dt"]["kernel"] == 0).all() and (grads["A"] != 0).all()


@functools.cache
def applied(model):
  """A jitted mixer."""
  return jax.jit(model.apply)


def with_slope(slope, name="topw"):
  params = params_of(name)["params"]
  return {"params": params | {"A": jnp.asarray(slope, jnp.float32)}}


def test_equal_scores_make_a_sliding_window_and_short_sequences_are_dense():
  still = with_slope([0.0, 0.0])
  plain = {"params": {k: v for k, v in still["params"].items() if k not in ("A", "dt")}}
  window = WindowAttention(**SHAPE, window=W)
  same = applied(TOPW)(still, X), applied(window)(plain, X)
  np.testing.assert_allclose(*same, atol=1e-6)
  wide = TOPW.clone(window=2 * N)
  dense = applied(MIXERS["dense"])(plain, X)
  np.testing.assert_allclose(applied(wide)(still, X), dense, atol=1e-6)
  moved = applied(wide)(with_slope([1.0, 1.0]), X)  # nothing dropped, but biased
  assert np.abs(moved - dense).max() > 1e-2


@pytest.mark.parametrize("recent", [1, 6, 2 * N])
def test_equal_scores_and_recent_tokens_make_a_window_of_both(recent):
  still = with_slope([0.0, 0.0])
  plain = {"params": {k: v for k, v in still["params"].items() if k not in ("A", "dt")}}
  window = applied(WindowAttention(**SHAPE, window=W + recent))(plain, X)
  np.testing.assert_allclose(
    applied(TOPW.clone(recent=recent))(still, X), window, atol=1e-6
  )


def test_recent_for_all_is_dense_under_the_same_bias():
  params = with_slope([0.9, -0.7])
  out = [applied(TOPW.clone(**s))(params, X) for s in ({"recent": N}, {"window": N})]
  np.testing.assert_allclose(*out, atol=1e-6)
  assert np.abs(out[0] - applied(TOPW)(params, X)).max() > 1e-2


def test_both_biases_keep_the_same_tokens():
  _, exp = extend_in("topw", [6, 1, 6])
  for mode in ("exp", "log"):
    model = TOPW.clone(bias_mode=mode)
    begin = jax.jit(functools.partial(model.apply, start=0, method="extend"))
    _, kept = begin(params_of("topw"), X, model.init_cache(B, N))
    np.testing.assert_array_equal(
      np.sort(kept.rank.position), np.sort(exp.rank.position)
    )


def test_a_constant_added_to_all_log_biases_changes_nothing():
  params = params_of("topw")["params"]
  model = TOPW.clone(bias_mode="log", window=N)
  still = params | {"dt": {"kernel": jnp.zeros((2, 4, 2))}}  # u = log 2 for all
  out = [
    applied(model)({"params": still | {"A": jnp.array(a)}}, X)
    for a in ([0.0, 0.0], [5.0, -5.0])
  ]
  np.testing.assert_allclose(*out, atol=1e-5)


def test_scores_are_float32_of_half_precision_values():
  slope = np.array([5.0, -5.0])
  model, params = TOPW.clone(dtype=jnp.bfloat16, cache="full"), with_slope(slope)

  def prefill(x):
    out, cache = model.apply(
      params, x, model.init_cache(B, N), start=0, method="extend"
    )
    return out.astype(jnp.float32).sum(), cache

  (total, cache), grad = jax.jit(jax.value_and_grad(prefill, has_aux=True))(X)
  value, score = cache.stored.pairs.value, np.asarray(cache.score)
  assert value.dtype == jnp.bfloat16 and score.dtype == np.float32
  dt = np.asarray(params["params"]["dt"]["kernel"], np.float64)
  z = np.einsum("bngk,gkf->bfn", np.asarray(value, np.float64), dt)
  np.testing.assert_allclose(score, slope[:, None] * np.log1p(np.exp(z)), rtol=1e-5)
  assert jnp.isfinite(total) and jnp.isfinite(grad).all()


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"window": 0}, "window = 0 lets a token see nothing"),
    ({"recent": -1}, "recent = -1 counts no tokens; give 0 for none"),
    ({"bias_mode": "expo"}, "did you mean 'exp'"),
    ({"a_init": "zero"}, "did you mean 'zeros'"),
    ({"cache": "top"}, "did you mean 'topw'"),
  ],
)
def test_settings_that_cannot_be_are_named(settings, message):
  model = DynamicMaskAttention(4, 2, 4, **settings)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), X)
  with pytest.raises(ValueError, match=message):
    model.init_cache(1, 4)
