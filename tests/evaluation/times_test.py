import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint

from mdm import api
from mdm.evaluation.times import (
  ARMS,
  Moments,
  TimeVariance,
  draw_by,
  format_numbers,
  make_drawer,
  summarize,
)
from mdm.methods.diffusion.mdlm import MDLM
from mdm.training.keys import stream_keys


class Frequencies(nn.Module):
  """The same learned logits everywhere."""

  vocab_size: int = 5

  @nn.compact
  def __call__(self, tokens, t=None, *, valid=None, train=False):
    logits = self.param("logits", nn.initializers.normal(1.0), (self.vocab_size,))
    return jnp.broadcast_to(logits, (*tokens.shape, self.vocab_size))


class Drifting(nn.Module):
  """Takes every token for a 0, the surer the later it is."""

  vocab_size: int = 5

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    logits = 8.0 * t[:, None, None] * (jnp.arange(self.vocab_size) == 0)
    return jnp.broadcast_to(logits, (*tokens.shape, self.vocab_size))


def batch_of(rows, length, vocab):
  tokens = np.random.default_rng(0).integers(0, vocab, (rows, length), np.int32)
  return {
    "tokens": tokens,
    "index": np.arange(rows, dtype=np.int32),
    "weight": np.ones(rows, np.float32),
  }


@pytest.fixture(scope="module")
def numbers():
  """Of a model whose loss depends on the time, on rows long enough to average masks."""
  method, batch = MDLM(Drifting()), batch_of(8, 512, 5)
  batch["tokens"][:] = 1
  found = {arm: make_drawer(draw_by(method, arm), batch, 100)({}, 0) for arm in ARMS}
  return summarize(found)


def test_every_way_has_the_same_mean(numbers):
  for arm in ARMS:
    t = (np.arange(10_000) + 0.5) / 10_000
    error = numbers[f"{arm}_loss_sd"] / 100**0.5
    expected = np.log(4 + np.exp(8 * t)).mean()
    assert abs(numbers[f"{arm}_loss"] - expected) < 4 * error + 0.02


def test_the_more_evenly_times_are_spread_the_less_the_loss_varies(numbers):
  ratio = {arm: numbers[f"{arm}_variance_ratio"] for arm in ARMS}
  assert ratio["independent"] == pytest.approx(1)
  # One shift of all times leaves more than one to each, where the loss is smooth.
  assert ratio["stratified"] < ratio["systematic"] < 0.3
  assert ratio["counted"] < ratio["systematic"]  # without the noise of the masks


def test_the_spread_is_the_deviation_of_what_is_normal_and_sees_no_outlier():
  loss = np.random.default_rng(0).normal(3.0, 0.5, 20_000)
  noise = Moments(loss, loss, np.float32(1))
  far = Moments(np.append(loss, 1e6), loss, np.float32(1))
  for moments in (noise, far):
    spread = summarize({"independent": moments})["independent_loss_spread"]
    assert spread == pytest.approx(0.5, rel=0.03)


def test_counts_leave_no_variance_where_every_token_costs_the_same():
  method, batch = draw_by(MDLM(joint.Uniform(27)), "counted"), batch_of(4, 32, 27)
  found = make_drawer(method, batch, 5)({}, 0)
  np.testing.assert_allclose(found.loss, np.log(27), rtol=1e-5)


def test_a_model_without_parameters_has_no_gradient(numbers):
  assert numbers["systematic_grad_norm"] == numbers["systematic_grad_norm_sd"] == 0
  assert numbers["systematic_grad_variance_ratio"] == 1


def test_moments_are_those_of_losses_and_gradients_one_by_one():
  method, batch = MDLM(Frequencies()), batch_of(4, 6, 5)
  variables = method.init(
    stream_keys(0, 0) | {"params": jax.random.key(1)}, batch, train=False
  )
  found = make_drawer(method, batch, 3)(variables, 7)

  @jax.jit
  def look(params, draw):
    def loss(params):
      keys = stream_keys(7, draw)
      means = method.apply({"params": params}, batch, train=False, rngs=keys)
      return means["loss"].value()

    value, grads = jax.value_and_grad(loss)(params)
    return value, jnp.concatenate([g.ravel() for g in jax.tree.leaves(grads)])

  each = [look(variables["params"], draw) for draw in range(3)]
  grads = np.array([g for _, g in each], np.float64)
  np.testing.assert_allclose(found.loss, [v for v, _ in each], rtol=1e-5)
  np.testing.assert_allclose(found.norm, np.linalg.norm(grads, axis=1), rtol=1e-5)
  expected = grads.var(axis=0, ddof=1).sum()
  np.testing.assert_allclose(found.variance, expected, rtol=1e-4)
  assert expected > 0


def test_the_command_measures_a_config_and_prints_every_way(tiny_text):
  report = api.bench_times(tiny_text.config, draws=3, batch=2)
  lines = format_numbers(report["numbers"]).splitlines()
  assert [line.split()[0] for line in lines] == ["times", *ARMS]
  assert report["numbers"]["rows"] == 2 and report["numbers"]["draws"] == 3


def test_what_makes_no_sense_is_refused(tiny_text):
  with pytest.raises(ValueError, match="draws = 1 must be 2 or more"):
    api.bench_times(tiny_text.config, draws=1)
  with pytest.raises(ValueError, match="did you mean 'stratified'"):
    TimeVariance(arms=("stratifyed", "independent"))
  with pytest.raises(ValueError, match="lacks 'independent'"):
    TimeVariance(arms=("stratified",))
  with pytest.raises(ValueError, match="CausalLM draws no times"):
    api.bench_times(tiny_text.twin)
