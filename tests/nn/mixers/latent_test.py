"""Latent attention: both forms, what its cache holds, and a brute force in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.mixers import MIXERS, B, N, X, params_of, run

from mdm.nn.mixers.latent import LatentAttention
from mdm.nn.rotary import make_rotation, rotate

MODEL = MIXERS["latent"]


def test_the_absorbed_form_equals_the_naive_one_with_its_gradients():
  def energy(params, form):
    return (MODEL.clone(form=form).apply(params, X) ** 2).sum()

  step = jax.jit(jax.value_and_grad(energy), static_argnums=1)
  naive, absorbed = (step(params_of("latent"), form) for form in ("naive", "absorbed"))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), naive, absorbed
  )


def norm(x, scale):
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def turn(x):
  positions = jnp.arange(N, dtype=jnp.int32)[None]
  return np.asarray(rotate(jnp.asarray(x), make_rotation(positions, x.shape[-1])))


def test_the_mixer_is_the_papers_equations():
  p = jax.tree.map(np.asarray, params_of("latent")["params"])
  x = np.asarray(X)
  latent = norm(x @ p["latent"]["kernel"], p["latent_norm"]["scale"])
  low = norm(x @ p["query_latent"]["kernel"], p["query_latent_norm"]["scale"])
  shared = turn((x @ p["shared"]["kernel"])[:, :, None])[:, :, 0]
  content = np.einsum("bnc,chk->bnhk", low, p["query"]["kernel"])
  rotary = turn(np.einsum("bnc,chk->bnhk", low, p["query_rotary"]["kernel"]))
  key = np.einsum("bnc,chk->bnhk", latent, p["key_up"])
  value = np.einsum("bnc,chk->bnhk", latent, p["value_up"])
  score = np.einsum("bnhk,bmhk->bhnm", content, key)
  score = (score + np.einsum("bnhr,bmr->bhnm", rotary, shared)) / np.sqrt(4 + 2)
  score = np.where(np.tri(N, dtype=bool), score, -np.inf)
  share = np.exp(score - score.max(-1, keepdims=True))
  mixed = np.einsum("bhnm,bmhk->bnhk", share / share.sum(-1, keepdims=True), value)
  wanted = np.einsum("bnhk,hkd->bnd", mixed, p["out"]["kernel"])
  np.testing.assert_allclose(run("latent"), wanted, atol=1e-5)


def test_the_cache_holds_one_latent_and_one_rotated_key_for_all_heads():
  cache = MODEL.init_cache(B, N)
  assert cache.latent.shape == (B, N, 6) and cache.shared.shape == (B, N, 2)
  published = LatentAttention(128, head_width=128).init_cache(1, 1)
  assert published.latent.shape[-1] + published.shared.shape[-1] == 512 + 64
  shapes = jax.eval_shape(
    LatentAttention(128, head_width=128).init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, 1, 5120), jnp.float32),
  )
  assert shapes["params"]["query_latent"]["kernel"].value.shape == (5120, 1536)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"kv_heads": 2}, "kv_heads = 2 and qk_norm = False have no meaning"),
    ({"qk_norm": True}, "qk_norm = True have no meaning"),
    ({"form": "absorb"}, "did you mean 'absorbed'"),
    ({"kv_width": 0}, "kv_width = 0"),
    ({"rotary_width": 3}, "head width = 3 is odd"),
  ],
)
def test_settings_that_cannot_be_are_named(settings, message):
  model = LatentAttention(4, head_width=4, **settings)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), X)
