"""GenMD4: its bound, and the gradient through what is hidden."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint
from toys.rows import Table, init, make_batch, run, streams

from mdm.masks.corruption import Corrupted
from mdm.methods.diffusion.genmd4 import GenMD4, leave_one_out
from mdm.methods.diffusion.mask_diffusion import Rows
from mdm.methods.diffusion.md4 import MD4

MASKS = np.array(list(itertools.product([False, True], repeat=2)))  # 4 2
POWERS = (1.5, 2.5)
T = 0.6


def raw(powers):
  """The parameter of given powers."""
  return {"params": {"powers": jnp.log(jnp.expm1(jnp.asarray(powers, jnp.float32)))}}


def all_pairs(method, text, t):
  """Both copies of a row run through all masks: rows [16 2], corruptions [32 2]."""
  pairs = np.array(list(itertools.product(range(4), repeat=2)))  # 16 2
  mask = jnp.asarray(MASKS[pairs.reshape(-1)])  # 32 2
  tokens = jnp.tile(jnp.asarray(text), (16, 1))
  rows = Rows(tokens, None, jnp.ones(tokens.shape, bool), jnp.ones(16))
  shown = jnp.where(mask, method.mask_id, rows.repeat(2).tokens)
  return rows, jnp.full(16, t), Corrupted(shown, mask, jnp.full(32, 1.0 / t))


def mask_probs(method, text, t):
  """q(z | x) of the four masks."""
  rows = Rows(jnp.asarray(text)[None], None, jnp.ones((1, 2), bool), jnp.ones(1))
  rate = jnp.exp(method.log_rate(rows, jnp.full(1, t)))  # 1 2
  return jnp.where(MASKS, rate, 1.0 - rate).prod(axis=1)  # 4


class Wrong(nn.Module):
  """Scores that are not the true ones, so that the loss depends on the mask."""

  vocab_size: int = 2

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    return 2.0 * joint.predict(tokens, t) + jnp.asarray([0.3, -0.4])


class Posterior(nn.Module):
  """P(token | canvas, t): that a token is hidden tells which it may be."""

  vocab_size: int = 2

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    rate = t[:, None] ** jnp.asarray(POWERS)  # b v
    both = jnp.asarray(joint.JOINT, jnp.float32) * rate[:, :, None] * rate[:, None]

    def given(both, other):  # b v w, the other token
      seen = jnp.take_along_axis(both, jnp.minimum(other, 1)[:, None, None], axis=2)
      return jnp.where((other == joint.MASK)[:, None], both.sum(2), seen[..., 0])

    first = given(both, tokens[:, 1])
    second = given(both.swapaxes(1, 2), tokens[:, 0])
    return jnp.log(jnp.stack([first, second], axis=1))


@pytest.mark.parametrize("text", range(4))
def test_its_gradient_is_unbiased(text):
  """Over all pairs of masks, weighted by their probability: no sampling error."""
  made, text = GenMD4(Wrong()), joint.TEXTS[text]
  start = raw(POWERS)

  def estimate(variables):
    def body(bound):
      rows, t, noised = all_pairs(bound, text, T)
      q = jax.lax.stop_gradient(mask_probs(bound, text, T))
      rows = rows._replace(weight=(q[:, None] * q).reshape(-1))
      logits = bound.logits(noised.tokens, jnp.repeat(t, 2))
      return bound.losses(rows, t, noised, logits)["loss"].value()

    return made.apply(variables, method=body)

  def exact(variables):
    def body(bound):
      rows, t, noised = all_pairs(bound, text, T)
      logits = bound.logits(noised.tokens, jnp.repeat(t, 2))
      nats = bound.row_nats(rows.repeat(2), noised, logits)[::8]  # every mask once
      total = (mask_probs(bound, text, T) * nats).sum() + bound.rest(rows)[0]
      return total / np.log(2) / 2

    return made.apply(variables, method=body)

  found, true = (
    jax.jit(jax.grad(f))(start)["params"]["powers"] for f in (estimate, exact)
  )
  np.testing.assert_allclose(found, true, rtol=1e-4, atol=1e-6)


def test_the_drawn_gradient_is_the_exact_one_on_average():
  """20,000 pairs of masks at one time; the tolerance is five standard errors."""
  rows = 20_000
  made = GenMD4(Wrong())
  tokens = jnp.tile(joint.TEXTS[1], (rows, 1))
  batch = make_batch(rows) | {"tokens": tokens}

  def drawn(bound, weight):
    rows_ = bound.read(batch, train=True)._replace(weight=weight)
    keys = jax.vmap(jax.random.key)(jnp.arange(2 * rows))
    noised = bound.hide(keys, rows_.repeat(2), jnp.full(2 * rows, T))
    logits = bound.logits(noised.tokens, jnp.full(2 * rows, T))
    return bound.losses(rows_, jnp.full(rows, T), noised, logits)["loss"].value()

  def exact(bound):
    rows_, t, noised = all_pairs(bound, joint.TEXTS[1], T)
    logits = bound.logits(noised.tokens, jnp.repeat(t, 2))
    nats = bound.row_nats(rows_.repeat(2), noised, logits)[::8]
    q = mask_probs(bound, joint.TEXTS[1], T)
    return ((q * nats).sum() + bound.rest(rows_)[0]) / np.log(2) / 2

  @jax.jit
  def halves(variables):
    def gradient(weight):
      return jax.grad(lambda v: made.apply(v, weight, method=drawn))(variables)

    first = jnp.arange(rows) % 2 == 0
    true = jax.grad(lambda v: made.apply(v, method=exact))(variables)
    return true, gradient(1.0 * first), gradient(1.0 * ~first)

  true, one, two = (np.asarray(g["params"]["powers"]) for g in halves(raw(POWERS)))
  np.testing.assert_allclose((one + two) / 2, true, atol=0.02)
  assert np.abs(true).min() > 0.15


def test_without_the_surrogate_the_gradient_would_be_another():
  nats, log_q = jnp.asarray([[1.0, 3.0]]), jnp.asarray([[-0.5, -2.0]])
  assert float(leave_one_out(nats, log_q)[0]) == pytest.approx(0.5 * -2.0 * 1.5)
  gradient = jax.grad(lambda n: leave_one_out(n, log_q).sum())(nats)
  assert (gradient == 0).all()


def test_equal_powers_make_it_md4_token_by_token():
  rng = np.random.default_rng(0)
  logits = jnp.asarray(rng.normal(size=(6, 5, 4)), jnp.float32)
  tokens = jnp.asarray(rng.integers(0, 4, (3, 5)), jnp.int32)
  mask = jnp.asarray(np.tile(np.eye(5, dtype=bool)[:3], (2, 1)))  # one token at a time
  rows = Rows(tokens, None, jnp.ones(tokens.shape, bool), jnp.ones(3)).repeat(2)
  t = jnp.asarray([0.2, 0.5, 0.9])
  gen = GenMD4(joint.Uniform(vocab_size=4))
  plain = MD4(
    joint.Uniform(vocab_size=4),
    schedule="polynomial",
    power=1.7,
    epsilon=0.0,
    samples=2,
  )
  corrupted = Corrupted(rows.tokens, mask, 1.0 / jnp.repeat(t, 2))
  found = gen.apply(raw([1.7] * 4), rows, corrupted, logits, method="row_nats")
  weight = plain.apply({}, jnp.repeat(t, 2), method="weight_at")
  expected = plain.apply(
    {}, rows, corrupted._replace(weight=weight), logits, method="row_nats"
  )
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equal_powers_hide_what_the_polynomial_schedule_hides():
  batch = make_batch()

  def draw(bound):
    rows = bound.read(batch, train=True)
    keys = jax.vmap(jax.random.key)(batch["index"])
    return bound.hide(keys, rows, jnp.linspace(0.1, 0.9, len(rows.tokens))).mask

  gen, plain = GenMD4(Table()), MD4(Table(), schedule="polynomial", power=2.0)
  masks = gen.apply(raw([2.0] * 27), method=draw)
  # epsilon differs in where it acts: 1e-4 of 128 draws may fall between.
  np.testing.assert_array_equal(masks, plain.apply({}, method=draw))


@pytest.mark.parametrize("text", range(4))
def test_true_posteriors_make_the_bound_tight_under_unequal_powers(text):
  """-log P up to what is read at t1 without the network."""
  made = GenMD4(Posterior(), epsilon=0.0, first_time=1e-3)
  times = 1e-3 + (1 - 1e-3) * joint.midpoints(2048)

  def body(bound):
    t = jnp.repeat(jnp.asarray(times, jnp.float32), 4)
    mask = jnp.asarray(np.tile(MASKS, (len(times), 1)))
    tokens = jnp.tile(joint.TEXTS[text], (len(t), 1))
    rows = Rows(tokens, None, jnp.ones(tokens.shape, bool), jnp.ones(len(t)))
    shown = jnp.where(mask, joint.MASK, tokens)
    rate = jnp.exp(bound.log_rate(rows, t))
    q = jnp.where(mask, rate, 1.0 - rate).prod(axis=1)
    noised = Corrupted(shown, mask, 1.0 / t)
    nats = bound.row_nats(rows, noised, bound.logits(shown, t))
    return (1 - 1e-3) * (q * nats).sum() / len(times) + bound.rest(rows)[0]

  found = jax.jit(lambda v: made.apply(v, method=body))(raw(POWERS))
  assert float(found) == pytest.approx(joint.NATS[text], abs=2e-4)


def test_reconstruction_is_what_a_share_of_rates_predicts():
  t1, e, w = 1e-3, 1e-4, np.asarray(POWERS)
  made = GenMD4(joint.Uniform(vocab_size=2))
  rows = Rows(
    jnp.asarray([[0, 1, 1]]), None, jnp.asarray([[True, True, False]]), jnp.ones(1)
  )
  found = made.apply(raw(POWERS), rows, method="rest")
  share = t1**w / (t1**w).sum()
  np.testing.assert_allclose(found, -((1 - e) * t1**w * np.log(share)).sum(), rtol=1e-4)


def test_the_reported_bound_leaves_the_surrogate_out():
  batch, made = make_batch(), GenMD4(Table())
  means = run(made, batch)
  assert means["loss"] != means["bits/token"]
  doubled = run(GenMD4(Table(), samples=4), batch)
  assert doubled["bits/token"] == pytest.approx(means["bits/token"], rel=0.3)
  assert means["power/min"] == means["power/max"] == pytest.approx(1.0)


def test_the_powers_learn():
  batch, made = make_batch(), GenMD4(Table())
  variables = init(made, batch)

  @jax.jit
  def gradient(variables):
    def loss(variables):
      means = made.apply(variables, batch, train=True, rngs=streams())
      return means["loss"].value()

    return jax.grad(loss)(variables)

  powers = np.asarray(gradient(variables)["params"]["powers"])
  assert np.isfinite(powers).all()
  assert (powers != 0).all()


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"samples": 1}, "method.samples = 1 leaves none to compare with"),
    ({"schedule": "linear"}, "learns powers of 'polynomial'"),
    ({"masking": "count"}, "hides by 'bernoulli'"),
    ({"first_time": 0.0}, "method.first_time = 0.0 must lie between 0 and 1"),
  ],
)
def test_wrong_settings_of_genmd4_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    run(GenMD4(joint.Uniform(), **settings), make_batch())


def test_its_score_is_the_bound_under_the_learned_powers():
  batch = {"tokens": jnp.asarray(joint.TEXTS), "index": jnp.arange(4)}
  made = GenMD4(Posterior(), epsilon=0.0)
  keys = jax.random.split(jax.random.key(0), 4)
  score = jax.jit(
    lambda v: made.apply(v, batch, keys, num_samples=4096, method="score")
  )(raw(POWERS))
  off = np.abs(np.asarray(score.nats) - joint.NATS)
  assert (off < 4 * np.asarray(score.error) + 1e-3).all()
  assert (np.asarray(score.error) < 0.05).all()
  with pytest.raises(ValueError, match="knows no powers of tokens"):
    made.apply(raw(POWERS), batch, keys, masking="count", method="score")
