"""LLaDA: what pretraining and fine-tuning count, hide and leave alone."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.joint import Uniform
from toys.rows import ROWS, N, Table, V, corrupted, evaluate, make_batch, run, streams

from mdm.decoding.settings import SamplerSettings
from mdm.methods.diffusion.llada import LLaDA

LENGTHS = jnp.asarray([1, 2, 4, 8, 12, 15, 16, 3])
PROMPT = jnp.arange(N) < (N - LENGTHS)[:, None]
TUNING = make_batch(prompt=PROMPT)
PLAIN = LLaDA(Uniform(), short_share=0.0)


def test_the_weight_is_one_over_the_mask_rate():
  t = jnp.linspace(0, 1, 11)
  rate = 0.999 * np.linspace(0, 1, 11) + 1e-3
  np.testing.assert_allclose(PLAIN.mask_schedule().rate(t), rate, rtol=1e-5)
  np.testing.assert_allclose(PLAIN.weight_at(t), 1 / rate, rtol=1e-5)


def test_pretraining_divides_by_all_tokens():
  """Under a uniform predictor: log V / (B n) times the sum of hidden / p."""
  batch = make_batch()
  _, t, noised = corrupted(PLAIN, batch)
  rate = np.asarray(PLAIN.mask_schedule().rate(t))
  expected = np.log(V) * (np.asarray(noised.mask).sum(1) / rate).sum() / (ROWS * N)
  means = evaluate(PLAIN, batch, streams(), True)
  np.testing.assert_allclose(means["loss"].value(), expected, rtol=1e-5)
  assert means["loss"].weight == ROWS * N


def test_fine_tuning_divides_by_each_answers_length_and_the_rows():
  _, t, noised = corrupted(PLAIN, TUNING)
  rate = np.asarray(PLAIN.mask_schedule().rate(t))
  per_row = np.log(V) * np.asarray(noised.mask).sum(1) / rate / np.asarray(LENGTHS)
  means = evaluate(PLAIN, TUNING, streams(), True)
  np.testing.assert_allclose(means["loss"].value(), per_row.mean(), rtol=1e-5)
  np.testing.assert_allclose(means["loss"].weight, ROWS, rtol=1e-6)


def test_counted_masks_give_the_closed_form_without_variance():
  counted = LLaDA(Uniform(), masking="count")
  for seed in range(2):
    assert run(counted, TUNING, seed=seed)["loss"] == pytest.approx(np.log(V), rel=1e-5)


@pytest.mark.parametrize("masking", ["bernoulli", "count"])
def test_the_prompt_is_never_hidden(masking):
  method = LLaDA(Uniform(), masking=masking)
  hidden = [corrupted(method, TUNING, seed)[2] for seed in range(8)]
  for noised in hidden:
    assert (noised.tokens == TUNING["tokens"])[PROMPT].all()
  assert jnp.stack([noised.mask for noised in hidden]).any(axis=0)[~PROMPT].all()


def test_the_prompt_has_no_gradient_and_every_answer_the_same_share():
  """The table's gradient is that of each position's own loss."""
  method = LLaDA(Table(), masking="count")
  values = method.init(streams(), TUNING, train=True)

  def loss(values, seed):
    means = method.apply(values, TUNING, train=True, rngs=streams(seed))
    return means["loss"].value()

  mean = lambda values: jax.vmap(functools.partial(loss, values))(jnp.arange(64)).mean()  # noqa: E731
  grad = jax.tree.leaves(jax.jit(jax.grad(mean))(nn.unbox(values)))[0]  # b n v
  size = jnp.abs(grad).sum(axis=-1)
  assert (size[PROMPT] == 0).all()
  assert (size[~PROMPT] > 0).all()


def test_padding_that_is_real_counts_to_the_answer_and_other_padding_does_not():
  valid = jnp.ones((ROWS, N), bool).at[-1, -1].set(False)
  counted = LLaDA(Uniform(), masking="count")
  rows, _, noised = corrupted(counted, TUNING | {"valid": valid})
  assert rows.can_hide.sum() == LENGTHS.sum() - 1
  assert not noised.mask[-1, -1]
  means = evaluate(counted, TUNING | {"valid": valid}, streams(), True)
  np.testing.assert_allclose(means["loss"].weight, ROWS, rtol=1e-6)


def test_pretraining_rows_are_cut_and_answers_are_not():
  method = LLaDA(Uniform(), short_share=1.0)
  rows = corrupted(method, make_batch())[0]
  kept = rows.can_hide.sum(axis=1)
  assert len(set(kept.tolist())) > 3
  assert (rows.valid == (jnp.arange(N) < kept[:, None])).all()
  assert corrupted(method, TUNING)[0].valid is None
  whole = method.apply({}, make_batch(), train=False, method="read", rngs=streams())
  assert whole.can_hide.all()


def test_answers_are_scored_given_their_prompts():
  keys = jax.random.split(jax.random.key(0), ROWS)
  score = PLAIN.apply({}, TUNING, keys, num_samples=4, method="score")
  np.testing.assert_allclose(score.nats, LENGTHS * np.log(V), rtol=1e-5)
  np.testing.assert_allclose(score.error, 0, atol=1e-4)


class Echo(nn.Module):
  """Prefers the first token of the row everywhere, and more so the more it shows."""

  vocab_size: int = V

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    first = jax.nn.one_hot(tokens[:, :1], self.vocab_size)  # b 1 v; none if hidden
    return jnp.broadcast_to(first, (*tokens.shape, self.vocab_size))


def sampled(**settings):
  rows = 64
  canvas = jnp.full((rows, N), V).at[:, 0].set(jnp.arange(rows) % V)
  keys = jax.random.split(jax.random.key(1), rows)
  settings = SamplerSettings(num_steps=N - 1, **settings)
  method = LLaDA(Echo())
  draw = jax.jit(
    lambda: method.apply({}, keys, canvas, settings=settings, method="sample")
  )
  return canvas, draw()


def test_it_samples_what_is_surest_one_position_a_step():
  canvas, found = sampled(keeps_history=True)
  hidden = (found.canvases == V).sum(axis=-1)  # s b
  assert (hidden == jnp.arange(N - 2, -1, -1)[:, None]).all()
  assert (found.tokens[:, 0] == canvas[:, 0]).all()


def test_guidance_by_what_is_given_makes_the_prompt_heard():
  share = []
  for guidance in (0.0, 8.0):
    canvas, found = sampled(guidance=guidance, confidence="random")
    share.append((found.tokens == canvas[:, :1])[:, 1:].mean())
  assert share[0] < 0.2  # e / (e + 26) = 0.09
  assert share[1] > 0.98  # e^9 / (e^9 + 26) = 0.997
