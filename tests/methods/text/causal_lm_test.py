"""The autoregressive twin: exact likelihoods, and sampling with a cache."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding.settings import SamplerSettings
from mdm.methods.text.causal_lm import CausalLM
from mdm.nn.denoiser import Denoiser

V, N = 3, 6
STRINGS = jnp.asarray(list(itertools.product(range(V), repeat=3)))
LINE = jnp.full((4, N), V).at[1, :2].set(0).at[2, 0].set(1)
KEYS = jax.random.split(jax.random.key(7), 4)


def network(**settings):
  settings = {"is_causal": True, "zero_head": False} | settings
  return Denoiser(V, width=16, depth=2, heads=2, **settings)


@functools.cache
def model():
  """The method, and weights large enough for its probabilities to differ."""
  lm = CausalLM(network())
  batch = {"tokens": STRINGS}
  values = jax.jit(functools.partial(lm.init, train=False))(jax.random.key(0), batch)
  return lm, jax.tree.map(lambda x: 3 * x, values)


@functools.cache
def program(method, **settings):
  lm, values = model()
  return jax.jit(lambda *args: lm.apply(values, *args, method=method, **settings))


def test_probabilities_of_all_strings_sum_to_one():
  score = program("score")({"tokens": STRINGS})
  np.testing.assert_allclose(jnp.exp(-score.nats).sum(), 1, rtol=1e-5)
  assert (score.error == 0).all()
  assert np.ptp(score.nats) > 0.1  # and they are not all alike


def make_batch(pad=2):
  tokens = np.random.default_rng(0).integers(0, V, (4, N))
  valid = np.arange(N) < np.array([6, 3, 4, 1])[:, None]
  return {
    "tokens": jnp.where(valid, tokens, pad),
    "valid": jnp.asarray(valid),
    "weight": jnp.ones(4),
  }


def test_the_loss_is_the_score_per_real_token():
  batch = make_batch()
  means = program("__call__", train=False)(batch)
  total = program("score")(batch).nats.sum()
  np.testing.assert_allclose(means["loss"].total, total, rtol=1e-6)
  assert means["loss"].weight == batch["valid"].sum()
  bits = means["loss"].value() / np.log(2)
  np.testing.assert_allclose(means["bits/token"].value(), bits, rtol=1e-6)


@pytest.mark.parametrize("pad", [0, V, 99])
def test_padding_has_no_effect_whatever_its_id(pad):
  base, other = (program("score")(make_batch(p)) for p in (2, pad))
  assert (base.nats == other.nats).all()


def test_prompts_and_rows_of_no_weight_are_not_scored():
  batch = make_batch()
  prompt = jnp.zeros((4, N), bool).at[:, 0].set(True)
  first = batch | {"valid": batch["valid"] & prompt}
  whole, head = (program("score")(x).nats for x in (batch, first))
  rest = program("score")(batch | {"prompt": prompt}).nats
  np.testing.assert_allclose(rest, whole - head, atol=1e-6)
  weighed = batch | {"prompt": prompt, "weight": jnp.array([1.0, 0, 0, 1])}
  mean = program("__call__", train=False)(weighed)["loss"]
  np.testing.assert_allclose(mean.total, rest[0] + rest[3], rtol=1e-6)
  assert mean.weight == 5


def test_a_network_of_zeros_needs_the_logarithm_of_the_vocabulary():
  lm = CausalLM(network(zero_head=True))
  means, _ = lm.init_with_output(jax.random.key(0), make_batch(), train=False)
  np.testing.assert_allclose(means["loss"].value(), np.log(V), rtol=1e-6)


def drawn(settings):
  return program("sample", settings=settings)(KEYS, LINE)


def test_cached_sampling_takes_the_tokens_that_recomputation_takes():
  greedy = SamplerSettings(temperature=0.0, keeps_history=True)
  found = drawn(greedy)
  canvas = np.array(LINE)
  scores = program("logits")
  for i in range(N):
    guess = scores(canvas, jnp.ones(canvas.shape, bool)).argmax(-1)
    canvas[:, i] = np.where(LINE[:, i] == V, guess[:, i], canvas[:, i])
    assert (found.canvases[i] == canvas).all()
  assert (found.tokens == canvas).all()
  assert found.calls == N


def test_samples_follow_the_exact_probabilities():
  exact = jnp.exp(-program("score")({"tokens": STRINGS}).nats)
  rows = 20_000
  keys = jax.random.split(jax.random.key(0), rows)
  sample = program("sample", settings=SamplerSettings())
  tokens = sample(keys, jnp.full((rows, 3), V)).tokens
  counts = np.bincount(np.asarray(tokens @ jnp.array([9, 3, 1])), minlength=27)
  chi_square = ((counts - rows * exact) ** 2 / (rows * exact)).sum()
  assert chi_square < 54.1  # 26 degrees of freedom, p = 0.001


def test_given_tokens_stay_and_rows_do_not_touch_each_other():
  settings = SamplerSettings()
  tokens = drawn(settings).tokens
  assert ((LINE == V) | (tokens == LINE)).all()
  turned = program("sample", settings=settings)(KEYS[::-1], LINE[::-1]).tokens
  assert (turned[::-1] == tokens).all()
  assert (tokens < V).all()


@pytest.mark.parametrize(
  ("canvas", "settings", "words"),
  [
    (LINE.at[3, 4].set(0), {}, "given tokens after hidden ones"),
    (LINE, {"temperature": -1.0}, "temperature = -1.0"),
    (LINE, {"top_p": 0.0}, "top_p = 0.0"),
    (LINE, {"guidance": 1.0}, "guidance = 1.0"),
    (LINE, {"block_length": 2}, "block_length = 2"),
  ],
)
def test_what_it_cannot_do_is_an_error(canvas, settings, words):
  lm, values = model()
  with pytest.raises(ValueError, match=words):
    lm.apply(
      values, KEYS, canvas, "ancestral", SamplerSettings(**settings), method="sample"
    )


@pytest.mark.parametrize("settings", [{"is_causal": False}, {"time": "adaln"}])
def test_a_network_that_is_not_causal_or_hears_time_is_an_error(settings):
  with pytest.raises(ValueError, match=f"model.network.{next(iter(settings))}"):
    CausalLM(network(**settings)).init(jax.random.key(0), make_batch(), train=False)


def test_answers_that_are_all_right_are_what_greedy_decoding_writes():
  canvas = LINE.at[:, 0].set(jnp.arange(4) % V)
  prompt = jnp.zeros((4, N), bool).at[:, 0].set(True)
  settings = SamplerSettings(temperature=0.0)
  written = program("sample", settings=settings)(KEYS, canvas.at[:, 1:].set(V)).tokens
  answer = program("answer")
  is_right, is_asked = answer({"tokens": written, "prompt": prompt})
  assert (is_asked == ~prompt).all() and is_right[:, 1:].all()
  other = written.at[:, 3].set((written[:, 3] + 1) % V)
  assert not answer({"tokens": other, "prompt": prompt})[0][:, 3].any()
