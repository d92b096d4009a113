"""Block diffusion: one pass trains all blocks; its limits; the cache at inference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.rows import streams

from mdm.decoding.block import sample_blocks
from mdm.decoding.settings import SamplerSettings
from mdm.masks.schedule import MaskSchedule
from mdm.methods.diffusion.block_diffusion import BlockDiffusion
from mdm.methods.diffusion.mask_diffusion import token_nats
from mdm.methods.diffusion.md4 import MD4
from mdm.nn.denoiser import Denoiser

V, N, ROWS = 5, 12, 4
MASK = V
RNG = np.random.default_rng(0)
TOKENS = jnp.asarray(RNG.integers(0, V, (ROWS, N)), jnp.int32)
HIDDEN = jnp.asarray(RNG.random((ROWS, N)) < 0.5)
NOISED = jnp.where(HIDDEN, MASK, TOKENS)
BATCH = {
  "tokens": TOKENS,
  "index": jnp.arange(ROWS, dtype=jnp.int32),
  "weight": jnp.ones(ROWS),
}
KEYS = jax.random.split(jax.random.key(5), ROWS)


def network(**settings):
  settings = {"zero_head": False} | settings
  return Denoiser(V, width=16, depth=2, heads=2, **settings)


@functools.cache
def weights():
  """Large enough for probabilities to differ; the same for any block length."""
  values = jax.jit(network().init)(jax.random.key(0), TOKENS)
  return {"params": {"network": jax.tree.map(lambda x: 2 * x, values["params"])}}


@functools.cache
def program(method, length, arguments=()):
  model = BlockDiffusion(network(), block_length=length)

  def run(seed, *inputs):
    return model.apply(
      weights(), *inputs, method=method, rngs=streams(seed), **dict(arguments)
    )

  return jax.jit(run)


def call(method, length, *inputs, seed=0, **arguments):
  return program(method, length, tuple(arguments.items()))(seed, *inputs)


def both(length, noised=NOISED, clean=TOKENS, valid=None):
  """Scores of the noised half, b n v."""
  found = call("block_logits", length, noised.reshape(-1, length), clean, valid)
  return found.reshape(*noised.shape, V)


def test_one_block_sees_all_of_the_noised_text_and_nothing_of_the_clean():
  full = network().apply({"params": weights()["params"]["network"]}, NOISED)
  np.testing.assert_allclose(both(N), full, atol=1e-4)
  assert (both(N) == both(N, clean=(TOKENS + 1) % V)).all()


def test_one_block_has_the_loss_of_md4_for_the_same_masks_and_times():
  block = BlockDiffusion(network(), block_length=N)
  md4 = MD4(network(), epsilon=0.0)

  def compare(keys):
    def drawn(bound):
      rows = bound.read(BATCH, train=True)
      return rows, *bound.corrupt(BATCH, rows, train=True)

    rows, t, noised = block.apply(weights(), method=drawn, rngs=keys)
    logits = md4.apply(weights(), noised.tokens, t, method="logits")
    theirs = md4.apply(weights(), rows, t, noised, logits, method="losses")
    return theirs, block.apply(weights(), BATCH, train=True, rngs=keys)

  theirs, ours = jax.jit(compare)(streams())
  for name in ("bits/token", "mask/ratio"):
    np.testing.assert_allclose(ours[name].value(), theirs[name].value(), rtol=1e-5)


def test_blocks_of_one_give_the_conditionals_of_an_autoregressive_model():
  scores = both(1, jnp.full_like(TOKENS, MASK))
  for i in (0, 1, N - 1):  # as recomputed with nothing after position i at all
    line = jnp.where(jnp.arange(N) < i, TOKENS, MASK)
    alone = call("logits", 1, line)[:, i]
    np.testing.assert_allclose(scores[:, i], alone, atol=1e-4)  # of scores up to 20
  exact = token_nats(scores, TOKENS).sum(axis=-1)
  found = call("score", 1, BATCH, KEYS, num_samples=2)
  np.testing.assert_allclose(found.nats, exact, rtol=1e-5)
  assert (found.error == 0).all()


@pytest.mark.parametrize("b", [0, 1, 3])
def test_a_clean_block_changes_only_noised_blocks_after_it(b):
  here = slice(3 * b, 3 * (b + 1))
  changed = both(3, clean=TOKENS.at[:, here].set((TOKENS[:, here] + 1) % V))
  differs = (changed != both(3)).any(axis=-1)
  assert not differs[:, : 3 * (b + 1)].any()
  assert differs[:, 3 * (b + 1) :].all()


@pytest.mark.parametrize("b", [0, 2])
def test_a_noised_block_changes_itself_alone(b):
  here = slice(3 * b, 3 * (b + 1))
  changed = both(3, noised=NOISED.at[:, here].set((TOKENS[:, here] + 1) % V))
  differs = (changed != both(3)).any(axis=(0, 2))
  assert (differs == (jnp.arange(N) // 3 == b)).all()


def with_valid(batch=BATCH):
  """The last row ends within its third block."""
  return batch | {"valid": jnp.ones((ROWS, N), bool).at[-1, 7:].set(False)}


def means_of(batch, **arguments):
  return call("__call__", 3, batch, train=False, **arguments)


def test_padding_has_no_effect_and_no_loss():
  base = with_valid()
  other = base | {"tokens": TOKENS.at[-1, 7:].set(4)}
  for name, mean in means_of(base).items():
    assert mean.value() == means_of(other)[name].value()
  assert means_of(base)["loss"].weight == ROWS * N - 5
  found = [call("score", 3, x, KEYS, num_samples=4).nats for x in (base, other)]
  assert (found[0] == found[1]).all()


def drawn(bound, batch, *, train=True):
  blocks = bound.cut(bound.read(batch, train=train))
  return blocks, *bound.corrupt(batch, blocks, train=train)


@functools.cache
def drawing(train, settings):
  model = BlockDiffusion(network(), block_length=3, **dict(settings))
  return jax.jit(
    lambda batch: model.apply({}, batch, train=train, method=drawn, rngs=streams())
  )


def corruption(batch, *, train=True, **settings):
  return drawing(train, tuple(settings.items()))(batch)


def test_times_are_spread_over_all_blocks_of_the_step():
  _, t, _ = corruption(BATCH)
  strata = jnp.sort(jnp.floor(t * 16))
  assert (strata == jnp.arange(16)).all()


def test_the_range_of_times_holds_in_training_alone():
  _, t, _ = corruption(BATCH, time_range=(0.45, 0.95))
  assert ((t >= 0.45) & (t < 0.95)).all()
  _, t, _ = corruption(BATCH, time_range=(0.45, 0.95), train=False)
  assert t.min() < 0.1


@pytest.mark.parametrize("masking", ["bernoulli", "count"])
def test_prompts_and_padding_are_never_hidden(masking):
  prompt = jnp.zeros((ROWS, N), bool).at[:, :4].set(True)
  blocks, _, noised = corruption(with_valid() | {"prompt": prompt}, masking=masking)
  given = (prompt | ~with_valid()["valid"]).reshape(-1, 3)
  assert not (noised.mask & given).any()
  assert noised.mask.any()
  if masking == "count":
    assert ((noised.mask.sum(axis=-1) > 0) == blocks.can_hide.any(axis=-1)).all()


def test_a_row_is_corrupted_alike_in_any_order_and_micro_batch():
  whole = corruption(BATCH)[2].mask.reshape(ROWS, -1)
  part = {name: x[jnp.array([2, 0])] for name, x in BATCH.items()}
  found = corruption(part | {"examples": jnp.asarray(ROWS)})[2].mask
  assert (found.reshape(2, -1) == whole[jnp.array([2, 0])]).all()


def test_the_loss_is_on_average_what_the_score_says():
  total = call("score", 3, BATCH, KEYS, num_samples=64).nats.sum()
  counted = BlockDiffusion(network(), block_length=3, masking="count")

  def loss(seed):
    means = counted.apply(weights(), BATCH, train=False, rngs=streams(seed))
    return means["loss"].value()

  found = jax.jit(lambda seeds: jax.lax.map(loss, seeds))(jnp.arange(64))
  error = found.std() / 8
  np.testing.assert_allclose(found.mean(), total / (ROWS * N), atol=4 * error)
  assert error < 0.05 * found.mean()


LINE = jnp.full((ROWS, N), MASK).at[1, :4].set(2).at[2, 7].set(1)
SAMPLED = SamplerSettings(num_steps=8, keeps_history=True)


@pytest.mark.parametrize(
  ("length", "sampler"), [(1, "low_confidence"), (3, "ancestral")]
)
def test_cached_sampling_draws_the_tokens_that_recomputation_draws(length, sampler):
  found = call("sample", length, KEYS, LINE, sampler=sampler, settings=SAMPLED)
  plain = recomputed(length, sampler)
  assert (found.tokens == plain.tokens).all()
  assert (found.canvases == plain.canvases).all()


def recomputed(length, sampler):
  """Every pass reads the whole canvas anew: finished blocks clean, the rest hidden."""

  def extend(tokens, canvas, start):
    canvas = jax.lax.dynamic_update_slice_in_dim(canvas, tokens, start, axis=1)
    return jax.lax.dynamic_slice_in_dim(
      both(length, canvas, canvas), start, length, 1
    ), canvas

  draw = functools.partial(
    sample_blocks, extend, mask_id=MASK, block_length=length, sampler=sampler,
    schedule=MaskSchedule(), settings=SAMPLED,
  )  # fmt: skip
  return jax.jit(draw)(jnp.full_like(LINE, MASK), LINE, KEYS)


def test_sampling_leaves_padding_alone_and_does_not_look_at_it():
  valid = with_valid()["valid"]
  model = BlockDiffusion(network(), block_length=3)

  def draw(canvas):
    return model.apply(
      weights(), KEYS, canvas, settings=SAMPLED, valid=valid, method="sample"
    ).tokens

  draw = jax.jit(draw)
  first, second = (draw(LINE.at[-1, 7:].set(pad)) for pad in (0, MASK))
  assert (first[-1, :7] == second[-1, :7]).all()
  assert (second[-1, 7:] == MASK).all()


def test_text_grows_past_the_length_of_training():
  long = jnp.full((ROWS, 2 * N), MASK).at[:, :N].set(TOKENS)
  tokens = call("sample", 3, KEYS, long, settings=SAMPLED).tokens
  assert (tokens[:, :N] == TOKENS).all()
  assert (tokens < V).all()


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"block_length": 5}, "block_length = 5"),
    ({"time_range": (0.5, 0.2)}, "method.time_range"),
    ({"time_range": (0.5, 0.9), "masking": "count"}, "counted masks"),
    ({"samples": 2}, "method.samples = 2"),
    ({"network": network(time="adaln")}, "hears no time"),
    ({"network": network(is_causal=True)}, "sees both ways"),
  ],
)
def test_settings_that_contradict_each_other_are_an_error(settings, words):
  settings = {"network": network(), "block_length": 3} | settings
  with pytest.raises(ValueError, match=words):
    BlockDiffusion(**settings).init(streams(), BATCH, train=True)
