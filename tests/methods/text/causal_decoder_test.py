"""From left to right with dynamic mask attention: cache, documents, beginnings."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding.settings import SamplerSettings
from mdm.methods.text.causal_lm import CausalLM
from mdm.nn.decoder import Decoder
from mdm.nn.denoiser import Denoiser
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention

V, N, W = 7, 20, 4
KEYS = jax.random.split(jax.random.key(5), 3)
GIVEN = jax.random.randint(jax.random.key(1), (3, N), 0, V)
SAMPLED, GREEDY = SamplerSettings(), SamplerSettings(temperature=0.0)


def make(cache="topw", recent=0, **settings):
  mixer = DynamicMaskAttention(
    2, kv_heads=1, window=W, recent=recent, a_init="normal", cache=cache
  )
  return CausalLM(Decoder(V, mixer, **{"width": 16, "depth": 2} | settings))


@functools.cache
def weights(**settings):
  """Weights so large that windows, scores and probabilities matter."""
  lm = make(**settings)
  batch = {"tokens": GIVEN}
  values = jax.jit(functools.partial(lm.init, train=False))(jax.random.key(0), batch)
  return jax.tree.map(lambda x: x if (x == 1).all() else 25 * x, values)


@functools.cache
def program(method, cache="topw", settings=SAMPLED, **network):
  lm, values = make(cache, **network), weights(**network)
  given = {"settings": settings} if method == "sample" else {}
  return jax.jit(lambda *args: lm.apply(values, *args, method=method, **given))


def canvas(*counts):
  """Rows of which so many tokens are given."""
  return jnp.where(jnp.arange(N) < jnp.asarray(counts)[:, None], GIVEN, V)


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("counts", [(0, 0, 0), (9, 9, 9), (6, 9, 12)], ids=str)
def test_a_cache_of_w_tokens_writes_what_the_full_one_writes(settings, counts):
  kept, full = (
    program("sample", cache, settings)(KEYS, canvas(*counts))
    for cache in ("topw", "full")
  )
  assert (kept.tokens == full.tokens).all()
  assert len(np.unique(kept.tokens)) > 2
  assert kept.calls == N - min(counts) + (min(counts) > 0)


def test_so_it_does_where_the_last_tokens_are_seen_besides():
  near = weights(recent=3), weights()
  assert jax.tree.map(jnp.shape, near[0]) == jax.tree.map(jnp.shape, near[1])
  kept, full, without = (
    program("sample", cache, GREEDY, **more)(KEYS, canvas(6, 9, 12)).tokens
    for cache, more in (("topw", {"recent": 3}), ("full", {"recent": 3}), ("topw", {}))
  )
  assert (kept == full).all() and (kept != without).any()


@pytest.mark.parametrize("counts", [(0, 0, 0), (6, 9, 12)], ids=str)
def test_a_cache_of_w_tokens_writes_what_the_interval_mask_writes(counts):
  line, scores = np.array(canvas(*counts)), program("logits")
  hidden = line == V
  for i in range(N):
    guess = scores(jnp.asarray(line), jnp.ones(line.shape, bool)).argmax(-1)
    line[:, i] = np.where(hidden[:, i], guess[:, i], line[:, i])
  assert (
    program("sample", settings=GREEDY)(KEYS, canvas(*counts)).tokens == line
  ).all()


def test_the_cache_does_not_grow_with_the_text():
  sizes = [
    sum(x.size for x in jax.tree.leaves(make().network.init_cache(1, length)))
    for length in (N, 100 * N)
  ]
  assert sizes[0] == sizes[1]


@functools.cache
def dense():
  """The same method around the network of diffusions."""
  lm = CausalLM(
    Denoiser(V, width=16, depth=1, heads=2, is_causal=True, zero_head=False)
  )
  init = jax.jit(functools.partial(lm.init, train=False))
  return lm, init(jax.random.key(0), {"tokens": GIVEN})


@pytest.mark.parametrize("kind", ["decoder", "denoiser"])
def test_packed_documents_are_scored_as_if_they_were_alone(kind):
  lm, values = (make(), weights()) if kind == "decoder" else dense()
  nats = jax.jit(lambda batch: lm.apply(values, batch, method="nats")[0])
  segments = jnp.repeat(jnp.asarray([[3, 0]] * 3), N // 2, axis=1)
  packed = nats({"tokens": GIVEN, "segments": segments})
  halves = jnp.stack(jnp.split(GIVEN, 2, axis=1), axis=1)  # b 2 n/2
  alone = nats({"tokens": halves.reshape(6, -1)}).reshape(3, -1)
  np.testing.assert_allclose(packed, alone, rtol=1e-4, atol=1e-4)
  assert not jnp.allclose(packed, nats({"tokens": GIVEN}), atol=0.1)


def test_a_token_for_the_beginning_stands_before_every_text():
  lm, values = make(bos_id=2), weights(bos_id=2)
  values = nn.unbox(values)["params"]["network"]
  assert values["embedding"].shape == (V, 16)
  before = jnp.full_like(GIVEN[:, :1], 2)
  line = jnp.concatenate([before, GIVEN[:, :-1]], axis=1)
  expected = lm.network.apply({"params": values}, line)
  got = program("logits", bos_id=2)(GIVEN, jnp.ones(GIVEN.shape, bool))
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_without_a_row_for_hidden_tokens_padding_and_holes_stay_finite():
  found = program("sample", bos_id=2)(KEYS, canvas(3, 5, N))
  assert ((found.tokens >= 0) & (found.tokens < V)).all()
  valid = jnp.arange(N) < 9
  line = jnp.where(valid, GIVEN, V)  # the id of nothing is not in the table
  logits = program("logits", bos_id=2)(line, jnp.broadcast_to(valid, line.shape))
  assert jnp.isfinite(logits).all()
