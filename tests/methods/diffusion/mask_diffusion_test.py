"""What every mask diffusion shares: what is hidden, what counts, what it costs."""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint
from toys.rows import ROWS, Mean, N, Table, V, corrupted, init, make_batch, run, streams

from mdm.decoding.settings import SamplerSettings
from mdm.methods.diffusion.genmd4 import GenMD4
from mdm.methods.diffusion.md4 import MD4
from mdm.methods.diffusion.mdlm import MDLM
from mdm.training.state import State
from mdm.training.step import StepSettings, accumulate_gradients

METHODS = [MD4, MDLM, GenMD4]


@pytest.mark.parametrize("text", range(4))
@pytest.mark.parametrize(
  "method",
  [
    MD4(joint.Exact(), epsilon=0.0),
    MD4(joint.Exact(), epsilon=0.0, schedule="cosine"),
    MD4(joint.Exact(), epsilon=0.0, schedule="polynomial", power=2.0),
    MD4(joint.Exact(), epsilon=0.0, schedule="polynomial", power=5.0),
    MDLM(joint.Exact(), epsilon=0.0, first_time=0.0),
  ],
  ids=["linear", "cosine", "poly2", "poly5", "mdlm"],
)
def test_true_conditionals_make_the_bound_tight_under_every_schedule(method, text):
  found = joint.exact_nats(method, joint.TEXTS[text], joint.midpoints(2048))
  assert found == pytest.approx(joint.NATS[text], abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_drawn_bound_is_the_exact_one_on_average(method):
  rows = 8192
  for text, nats in zip(joint.TEXTS[:2], joint.NATS[:2], strict=True):
    batch = make_batch(rows) | {"tokens": jnp.tile(text, (rows, 1))}
    found = run(method(joint.Exact()), batch)["bits/token"]
    # One standard error is about 0.015 bits; the epsilons cost 0.002.
    assert found == pytest.approx(nats / np.log(2) / 2, abs=0.06)


def test_counted_masks_have_the_same_mean_and_a_smaller_variance():
  rows = 8192
  batch = make_batch(rows) | {"tokens": jnp.tile(joint.TEXTS[1], (rows, 1))}
  counted = MD4(joint.Exact(), masking="count")
  found = run(counted, batch)["bits/token"]
  assert found == pytest.approx(joint.NATS[1] / np.log(2) / 2, abs=0.01)

  def spread(method):
    batch = make_batch(64, vocab=2)
    return np.std([run(method, batch, seed=s)["bits/token"] for s in range(16)])

  uniform = joint.Uniform(vocab_size=2)
  assert spread(MD4(uniform, masking="count")) < 1e-6 < spread(MD4(uniform))


@pytest.mark.parametrize("method", [MD4, MDLM])
def test_counted_masks_of_an_ignorant_network_cost_log_v_exactly(method):
  found = run(method(joint.Uniform(), masking="count"), make_batch())
  assert found["bits/token"] == pytest.approx(np.log2(V), rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_only_hidden_tokens_have_a_gradient(method):
  batch, made = make_batch(), method(Table())
  variables = init(made, batch)
  _, _, noised = corrupted(made, batch)

  @jax.jit
  def gradient(params):
    def loss(params):
      means = made.apply({"params": params}, batch, train=True, rngs=streams())
      return means["loss"].value()

    return jax.grad(loss)(params)

  grads = np.asarray(gradient(variables["params"])["network"]["table"])  # b n v
  hidden = np.asarray(noised.mask).reshape(ROWS, -1, N).any(axis=1)  # b n
  assert 0 < hidden.sum() < hidden.size
  np.testing.assert_array_equal(np.abs(grads).sum(-1) > 0, hidden)


@pytest.mark.parametrize("method", METHODS)
def test_padding_and_prompts_are_never_hidden_and_have_no_loss(method):
  place = np.arange(N)
  valid = jnp.asarray(place < np.arange(N - ROWS + 1, N + 1)[:, None])
  prompt = jnp.asarray(np.tile(place < 4, (ROWS, 1)))
  batch = make_batch(valid=valid, prompt=prompt)
  for seed in range(4):
    rows, _, noised = corrupted(method(Table()), batch, seed)
    many = rows.repeat(len(noised.mask) // ROWS)
    assert not (noised.mask & (~many.valid | (jnp.arange(N) < 4))).any()
    np.testing.assert_array_equal(rows.can_hide, valid & ~prompt)
  changed = jnp.where(valid, batch["tokens"], V + 5)  # no class: out of every table
  first, second = (
    run(method(Table()), batch | {"tokens": tokens})
    for tokens in (batch["tokens"], changed)
  )
  assert first == second


def test_the_bound_is_per_token_that_may_be_hidden():
  valid = jnp.asarray(np.arange(N) < np.arange(1, ROWS + 1)[:, None])
  found = run(MD4(joint.Uniform(), masking="count"), make_batch(valid=valid))
  assert found["bits/token"] == pytest.approx(np.log2(V), rel=1e-6)


def test_a_row_with_nothing_to_hide_costs_nothing():
  batch = make_batch(prompt=jnp.ones((ROWS, N), bool))
  for method in (MD4(joint.Uniform(), masking="count"), MDLM(joint.Uniform())):
    assert run(method, batch) == {"loss": 0.0, "bits/token": 0.0, "mask/ratio": 0.0}


@pytest.mark.parametrize("method", [MD4, MDLM])
def test_samples_of_a_row_share_its_time_and_differ_in_their_masks(method):
  batch = make_batch()
  _, t, noised = corrupted(method(Table(), samples=2), batch)
  _, single, first = corrupted(method(Table()), batch)
  masks = np.asarray(noised.mask).reshape(ROWS, 2, N)
  np.testing.assert_array_equal(t, single)
  np.testing.assert_array_equal(masks[:, 0], first.mask)
  assert (masks[:, 0] != masks[:, 1]).any()
  np.testing.assert_array_equal(noised.weight[::2], noised.weight[1::2])


@pytest.mark.parametrize("method", METHODS)
def test_what_a_row_hides_depends_on_its_index_alone(method):
  batch, made = make_batch(), method(Table())
  order = np.array([5, 2, 7, 0, 1, 3, 6, 4])
  _, t, noised = corrupted(made, batch)
  _, other_t, other = corrupted(made, {k: x[order] for k, x in batch.items()})
  np.testing.assert_array_equal(t[order], other_t)
  masks = noised.mask.reshape(ROWS, -1, N)
  np.testing.assert_array_equal(masks[order], other.mask.reshape(ROWS, -1, N))


def test_pixels_are_tokens_where_there_are_no_others():
  image = jnp.arange(ROWS * 2 * 3 * 3, dtype=jnp.uint8).reshape(ROWS, 2, 3, 3)
  batch = make_batch() | {"image": image}
  del batch["tokens"]
  made = MD4(joint.Uniform(vocab_size=256), masking="count")
  rows, _, _ = corrupted(made, batch)
  np.testing.assert_array_equal(rows.tokens, image.reshape(ROWS, 18))
  assert run(made, batch)["bits/token"] == pytest.approx(8.0, rel=1e-6)
  with pytest.raises(ValueError, match=r"vocab_size = 27, but pixels have 256"):
    run(MD4(joint.Uniform()), batch)


def test_short_rows_are_cut_in_training_only():
  batch = make_batch(rows=64)
  made = MD4(joint.Uniform(), short_share=0.5, masking="count")
  rows, _, _ = corrupted(made, batch)
  lengths = np.asarray(rows.valid.sum(axis=1))
  assert 10 < (lengths < N).sum() < 50
  assert lengths.min() >= 1
  assert (np.diff(np.asarray(rows.valid, int), axis=1) <= 0).all()
  assert run(made, batch, train=True)["bits/token"] == pytest.approx(np.log2(V), 1e-6)
  kept = made.apply({}, batch, train=False, method="read")
  assert kept.valid is None


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ({"masking": "counts"}, "did you mean 'count'"),
    ({"times": "systemic"}, "did you mean 'systematic'"),
    ({"samples": 0}, "method.samples = 0 must be at least 1"),
    ({"short_share": 1.5}, "method.short_share = 1.5 lies outside"),
    ({"power": 2.0}, "no meaning for 'linear'"),
  ],
)
def test_wrong_settings_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    run(MDLM(joint.Uniform(), **settings), make_batch())


@pytest.mark.parametrize("method", [MD4, MDLM])
def test_a_score_of_true_conditionals_is_the_negative_log_likelihood(method):
  batch = {"tokens": jnp.asarray(joint.TEXTS), "index": jnp.arange(4)}
  keys = jax.random.split(jax.random.key(0), 4)
  made = method(joint.Exact())
  for masking, slack in (("count", 1e-4), ("bernoulli", 5e-3)):
    settings = dict(masking=masking, num_samples=2048, method="score")
    score = jax.jit(lambda s=settings: made.apply({}, batch, keys, **s))()
    off = np.abs(np.asarray(score.nats) - joint.NATS)
    assert (off < 4 * np.asarray(score.error) + slack).all()


def test_a_score_leaves_prompt_and_padding_out():
  valid = jnp.asarray([[True, True, True, False]])
  batch = {
    "tokens": jnp.asarray([[3, 5, 7, 99]]),
    "index": jnp.arange(1),
    "valid": valid,
    "prompt": jnp.asarray([[True, False, False, False]]),
  }
  keys = jax.random.split(jax.random.key(0), 1)
  score = MD4(joint.Uniform()).apply({}, batch, keys, num_samples=4, method="score")
  assert float(score.nats[0]) == pytest.approx(2 * np.log(V), rel=1e-6)
  with pytest.raises(ValueError, match="did you mean 'count'"):
    MD4(joint.Uniform()).apply({}, batch, keys, masking="cont", method="score")


@pytest.mark.parametrize("method", METHODS)
def test_samples_keep_what_is_given_and_hide_nothing(method):
  made = method(Table(rows=4))
  variables = init(made, make_batch(4))
  canvas = jnp.full((4, N), V).at[:, 3].set(11)
  settings = SamplerSettings(num_steps=5)
  draw = jax.jit(
    lambda v, keys: (
      made.apply(v, keys, canvas, "ancestral", settings, method="sample").tokens
    )
  )
  tokens = np.asarray(draw(variables, jax.random.split(jax.random.key(0), 4)))
  assert (tokens[:, 3] == 11).all()
  assert tokens.max() < V
  assert len(np.unique(tokens, axis=0)) == 4


def test_samples_of_true_conditionals_have_the_law_of_two_steps():
  """(1 - 1/T) P + (1/T) P1 x P2 for T = 2 and the linear schedule, by chi-square."""
  rows = 8192
  made = MDLM(joint.Exact(), epsilon=0.0)
  canvas = jnp.full((rows, 2), joint.MASK)
  settings = SamplerSettings(num_steps=2)
  keys = jax.random.split(jax.random.key(1), rows)
  found = jax.jit(
    lambda k: made.apply({}, k, canvas, "ancestral", settings, method="sample").tokens
  )(keys)
  counts = np.bincount(np.asarray(found) @ [2, 1], minlength=4)
  product = np.outer(joint.JOINT.sum(1), joint.JOINT.sum(0))
  expected = rows * (joint.JOINT + product).reshape(-1) / 2
  assert ((counts - expected) ** 2 / expected).sum() < 16.3  # p = 0.001 at 3 degrees


@pytest.mark.parametrize(
  "made",
  [MD4(Mean(), masking="count"), MDLM(Mean()), GenMD4(Mean())],
  ids=["md4", "mdlm", "genmd4"],
)
def test_micro_batches_give_the_gradient_of_the_whole_step(made):
  """Same times, same masks: the gradient agrees to 1e-5 of its largest number."""
  valid = jnp.asarray(np.arange(N) < np.arange(N - ROWS + 1, N + 1)[:, None])
  batch = make_batch(valid=valid)

  @functools.partial(jax.jit, static_argnums=1)
  def gradient(params, pieces):
    step = jnp.zeros((), jnp.int32)
    state = State(step, params, (), {}, None, step)
    settings = StepSettings(accumulate=pieces)
    grads, means, _ = accumulate_gradients(made, state, batch, settings)
    return grads, {name: mean.value() for name, mean in means.items()}

  params = flax.core.meta.unbox(init(made, batch))["params"]
  (whole, means), (cut, others) = (gradient(params, pieces) for pieces in (1, 4))
  for name in means:
    assert float(others[name]) == pytest.approx(float(means[name]), rel=1e-5)
  for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(1, np.abs(a).max()))
