"""MDiff4STR with stand-in networks of a few hundred weights."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdm.masks.keys import example_keys
from mdm.masks.strategies import STRATEGIES, draw_noising
from mdm.methods.base import Mean
from mdm.methods.diffusion.mdiff4str import MDiff4STR, Noised, denoising_loss

B, CANVAS, C = 6, 8, 10
MASK, PAD = C + 1, C + 2
LENGTHS = np.array([2, 3, 5, 8, 4, 7])


class Eye(nn.Module):
  width: int = 16

  @nn.compact
  def __call__(self, image, *, train):
    del train
    return nn.Dense(self.width)(image.reshape(len(image), 4, -1))


class Mind(nn.Module):
  @nn.compact
  def __call__(self, x, memory, *, train):
    seen = nn.Dense(x.shape[-1])(memory.reshape(len(memory), -1))[:, None, None]
    x = nn.gelu(nn.Dense(32)(x + seen + x.mean(axis=2, keepdims=True)))
    return nn.Dropout(0.1, deterministic=not train)(nn.Dense(seen.shape[-1])(x))


def make(**settings):
  settings = {"num_characters": C, "canvas": CANVAS} | settings
  return MDiff4STR(encoder=Eye(), decoder=Mind(), **settings)


def make_batch(rows=B, pad=PAD):
  rng = np.random.default_rng(0)
  lengths = np.resize(LENGTHS, rows)
  position = np.arange(CANVAS)
  tokens = rng.integers(1, C + 1, (rows, CANVAS))
  tokens = np.where(position < lengths[:, None] - 1, tokens, pad)
  tokens[np.arange(rows), lengths - 1] = 0
  return {
    "image": jnp.asarray(rng.integers(0, 256, (rows, 8, 8, 1)), jnp.uint8),
    "tokens": jnp.asarray(tokens, jnp.int32),
    "valid": jnp.asarray(position < lengths[:, None]),
    "index": jnp.arange(rows, dtype=jnp.int32) + 5,
    "weight": jnp.ones(rows),
  }


BATCH = make_batch()


HALVES = [{name: value[i : i + 3] for name, value in BATCH.items()} for i in (0, 3)]


@functools.cache
def variables():
  keys = {name: jax.random.key(i) for i, name in enumerate(("params", "mask"))}
  return jax.jit(functools.partial(make().init, train=False))(keys, BATCH)


@functools.cache
def program(method, settings, arguments):
  """One compiled program for each combination of method, fields and arguments."""

  def run(values, seed, *inputs):
    rngs = {"mask": jax.random.key(seed)}
    return make(**dict(settings)).apply(
      values, *inputs, method=method, rngs=rngs, **dict(arguments)
    )

  return jax.jit(run)


def means_of(batch=BATCH, *, seed=0, **settings):
  run = program("__call__", tuple(settings.items()), (("train", False),))
  return run(variables(), seed, batch)


def losses_of(noised, batch=BATCH):
  run = program("losses", (), (("train", False),))
  return run(variables(), 0, batch, read(batch, method="encode"), noised)


def corrupt(batch=BATCH, *, seed=0, **settings):
  run = program("corrupt", tuple(settings.items()), ())
  return jax.tree.map(np.asarray, run({}, seed, batch))


def read(*inputs, method="predict", **arguments):
  inputs = inputs or (BATCH,)
  return program(method, (), tuple(arguments.items()))(variables(), 0, *inputs)


def loss(means):
  return sum(m.value() for name, m in means.items() if name.startswith("loss/"))


@jax.jit
def gradients(values, batch):
  """Of each of the two losses, by name."""

  def values_of(values):
    rngs = {"mask": jax.random.key(0)}
    means = make().apply(values, batch, train=False, rngs=rngs)
    return {name: m.value() for name, m in means.items() if name.startswith("loss/")}

  return nn.unbox(jax.jacrev(values_of)(values))


def test_hidden_canvases_show_the_truth_or_mask_and_never_padding():
  noised = corrupt()
  tokens, valid = np.asarray(BATCH["tokens"])[:, None], np.asarray(BATCH["valid"])
  is_shown = noised.hidden != MASK
  truth = np.broadcast_to(tokens, is_shown.shape)
  assert (noised.hidden == truth)[is_shown].all()
  assert ((is_shown | noised.mask) == valid[:, None]).all()


def test_replaced_canvases_hide_what_follows_the_eos():
  noised = corrupt()
  after = np.broadcast_to(~np.asarray(BATCH["valid"])[:, None], noised.wrong.shape)
  assert (noised.replaced[after] == MASK).all()
  assert not noised.wrong[after].any()


def test_copies_and_steps_draw_corruptions_of_their_own():
  first, second = corrupt(make_batch(64)), corrupt(make_batch(64), seed=1)
  for a in (first.mask, first.wrong):
    assert (a[:, 0] != a[:, 1]).any(axis=-1).mean() > 0.5
  assert (first.mask != second.mask).any(axis=-1).mean() > 0.5


def test_corruptions_follow_their_example_through_any_batch_order():
  order = np.array([4, 2, 0, 5, 1, 3])
  shuffled = corrupt({name: value[order] for name, value in BATCH.items()})
  for a, b in zip(corrupt(), shuffled, strict=True):
    assert (a[order] == b).all()


@pytest.mark.parametrize("strategy", range(6), ids=STRATEGIES)
@pytest.mark.parametrize("norm", ["m", "released"])
def test_constant_nats_give_the_closed_form_under_every_strategy(strategy, norm):
  m = jnp.arange(2, 27)
  keys = example_keys(jax.random.key(0), m)
  weights = jax.nn.one_hot(strategy, 6)
  mask = jax.jit(lambda: draw_noising(keys, m, 26, weights=weights).mask)()
  nats = jnp.full((25, 1, 26), 2.5)
  expected = 2.5 * (m / (m + 1) if norm == "released" else jnp.ones(25))
  found = denoising_loss(nats, mask[:, None], m, norm=norm)
  np.testing.assert_allclose(found, expected, rtol=1e-6)  # float32 sums of 26 terms


def test_only_hidden_tokens_have_a_denoising_gradient():
  mask = jnp.asarray(corrupt().mask)
  m = BATCH["valid"].sum(axis=1)
  grad = jax.grad(lambda nats: denoising_loss(nats, mask, m).sum())(
    jnp.ones(mask.shape)
  )
  assert ((grad != 0) == mask).all()


def test_the_classifier_has_no_output_for_mask_and_padding():
  logits = read(BATCH["tokens"], read(method="encode"), method="logits")
  assert logits.shape == (B, CANVAS, C + 1)


def test_the_content_of_padding_changes_nothing():
  base, other = means_of(), means_of(make_batch(pad=3))
  for name in base:
    assert base[name].value() == other[name].value()


def test_replacement_loss_counts_untouched_tokens():
  mean = means_of(replacement_range=(0.0, 0.0))["loss/replacement"]
  assert mean.weight == 3 * LENGTHS.sum()
  assert mean.value() > 0.5
  assert means_of(replacement_range=(0.0, 0.0))["accuracy/replaced"].weight == 0


@pytest.mark.parametrize("name", ["loss/denoise", "loss/replacement"])
def test_both_losses_reach_every_network(name):
  grads = gradients(variables(), BATCH)[name]["params"]
  assert set(grads) == {"encoder", "decoder", "embed", "classifier"}
  assert all(optax.tree.norm(network) > 1e-4 for network in grads.values())


def test_the_embedding_of_the_eos_is_trained():
  grads = gradients(variables(), BATCH)["loss/denoise"]["params"]["embed"]
  assert (jnp.abs(grads["embedding"][0]) > 0).any()


def test_the_order_of_copies_does_not_matter():
  noised = corrupt()
  turned = Noised(*(x[:, [2, 0, 1]] for x in noised))
  np.testing.assert_allclose(
    loss(losses_of(turned)), loss(losses_of(noised)), rtol=1e-6
  )


def test_three_copies_are_the_mean_of_three_single_ones():
  noised = corrupt()
  single = [losses_of(Noised(*(x[:, i : i + 1] for x in noised))) for i in range(3)]
  together = losses_of(noised)
  for name in ("loss/denoise", "loss/replacement"):
    mean = sum(means[name].value() for means in single) / 3
    np.testing.assert_allclose(together[name].value(), mean, rtol=1e-6)


def test_the_first_copy_does_not_depend_on_their_number():
  assert (corrupt(copies=1).mask == corrupt().mask[:, :1]).all()
  assert (corrupt(copies=1).replaced == corrupt().replaced[:, :1]).all()


def test_rows_of_no_weight_do_not_count():
  padded = means_of(dict(BATCH, weight=jnp.array([1.0, 1, 1, 0, 0, 0])))
  plain = means_of(HALVES[0])
  for name in plain:
    assert padded[name].weight == plain[name].weight
    np.testing.assert_allclose(padded[name].value(), plain[name].value(), rtol=2e-6)


def test_a_batch_of_padding_rows_has_no_loss_and_finite_gradients():
  empty = dict(BATCH, weight=jnp.zeros(B), valid=jnp.zeros((B, CANVAS), bool))
  assert loss(means_of(empty)) == 0
  grads = jax.tree.leaves(gradients(variables(), empty))
  assert all((grad == 0).all() for grad in grads)


def test_micro_batches_add_up_to_their_batch():
  first, second = (means_of(half) for half in HALVES)
  for name, mean in means_of().items():
    added: Mean = first[name] + second[name]
    np.testing.assert_allclose(added.value(), mean.value(), rtol=1e-6)


@pytest.mark.parametrize("step", [0, 9])
def test_the_first_steps_see_full_masks_and_no_replacement(step):
  batch = dict(BATCH, step=jnp.asarray(step))
  assert (corrupt(batch, full_mask_steps=10).hidden == MASK).all()
  means = means_of(batch, full_mask_steps=10)
  assert means["mask/ratio"].value() == 1
  assert means["loss/replacement"].value() == 0


@pytest.mark.parametrize("batch", [BATCH, dict(BATCH, step=jnp.asarray(10))])
def test_later_steps_and_evaluation_draw_all_strategies(batch):
  assert (corrupt(batch, full_mask_steps=10).mask == corrupt().mask).all()
  assert means_of(batch, full_mask_steps=10)["loss/replacement"].value() > 0


def test_strategy_weights_leave_only_the_random_mask():
  mask = corrupt(make_batch(300), strategy_weights=(0, 0, 0, 0, 0, 1)).mask
  share = mask.all(axis=(1,), where=make_batch(300)["valid"][:, None]).mean()
  assert share < 0.6
  whole = corrupt(make_batch(300), strategy_weights=(1, 0, 0, 0, 0, 0)).mask
  assert (whole == np.asarray(make_batch(300)["valid"])[:, None]).all()


def test_without_replacement_the_decoder_sees_hidden_copies_only():
  means = means_of(replacement_weight=0)
  assert set(means) == {"loss/denoise", "mask/ratio", "accuracy/token"}
  assert corrupt(replacement_weight=0).replaced is None


def test_the_image_is_encoded_once():
  calls = []

  class Counter(Eye):
    def __call__(self, image, *, train):
      calls.append(image.shape)
      return jnp.zeros((len(image), 4, 16)) + image.mean()

  method = MDiff4STR(encoder=Counter(), decoder=Mind(), num_characters=C, canvas=CANVAS)
  values = {"params": variables()["params"]}
  rngs = {"mask": jax.random.key(0)}
  jax.eval_shape(lambda: loss(method.apply(values, BATCH, train=False, rngs=rngs)))
  assert len(calls) == 1
  calls.clear()
  jax.eval_shape(lambda: method.apply(values, BATCH, method="predict").tokens)
  assert len(calls) == 1


def test_bytes_and_normalised_numbers_are_the_same_image():
  numbers = BATCH["image"].astype(jnp.float32) / 255 * 2 - 1
  assert numbers.min() >= -1
  np.testing.assert_allclose(
    read(method="encode"), read({"image": numbers}, method="encode"), atol=1e-5
  )


def test_one_low_confidence_pass_is_parallel_decoding_bit_for_bit():
  lc, pd = read(decoder="lc", num_steps=1), read(decoder="pd")
  assert (lc.tokens == pd.tokens).all()
  assert (lc.probs == pd.probs).all()


@pytest.mark.parametrize("decoder", ["lc", "random", "cloze"])
def test_an_image_is_read_alike_whatever_stands_beside_it(decoder):
  whole = read(decoder=decoder)
  half = read(HALVES[1], decoder=decoder)
  assert (whole.tokens[3:] == half.tokens).all()


def test_reflection_is_one_reading_of_the_given_tokens():
  wrong = BATCH["tokens"].at[:, 0].set(3)
  shown = jnp.where(BATCH["valid"], wrong, MASK)
  logits = read(shown, read(method="encode"), method="logits")
  found = read(dict(BATCH, tokens=wrong), method="reflect")
  assert (found.tokens == jnp.where(found.valid, logits.argmax(-1), MASK)).all()
  assert found.canvases.shape == (1, B, CANVAS)


def test_the_same_canvas_is_read_alike_in_every_step():
  canvas = jnp.full((B, CANVAS), MASK)

  @jax.jit
  def run(values, share):
    return make().bind(values)._predictor(BATCH)(canvas, share)

  first, second = run(variables(), jnp.ones(B)), run(variables(), jnp.zeros(B))
  assert (first == second).all()


def test_training_learns_to_read_what_it_has_seen():
  method = make(full_mask_steps=50, dropout=0.0)
  optimizer = optax.adam(1e-2)

  @jax.jit
  def train(values):
    def step(state, i):
      def value(values):
        rngs = {"mask": jax.random.fold_in(jax.random.key(0), i)}
        batch = dict(BATCH, step=i)
        return loss(method.apply(values, batch, train=False, rngs=rngs))

      values, moments = state
      nats, grads = jax.value_and_grad(value)(values)
      updates, moments = optimizer.update(grads, moments)
      return (optax.apply_updates(values, updates), moments), nats

    state = (values, optimizer.init(values))
    (values, _), nats = jax.lax.scan(step, state, jnp.arange(200))
    return values, nats

  values, nats = train(variables())
  assert nats[-1] < 0.2
  found = method.apply(values, BATCH, method="predict")
  assert (jnp.where(BATCH["valid"], found.tokens == BATCH["tokens"], True)).all()


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"block_variant": "release"}, "did you mean 'released'"),
    ({"length_norm": "n"}, "length_norm = 'n' is unknown"),
    ({"copies": 0}, "copies = 0 must be at least 1"),
    ({"strategy_weights": (1, 2)}, "must be 6 numbers"),
    ({"replacement_range": (0.5, 2.0)}, "two shares in"),
  ],
)
def test_impossible_settings_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    make(**settings).apply(
      variables(), BATCH, train=False, rngs={"mask": jax.random.key(0)}
    )


def test_an_unknown_decoder_is_refused_before_the_image_is_encoded():
  with pytest.raises(ValueError, match="did you mean 'cloze'"):
    make().apply({}, BATCH, decoder="cloz", method="predict")
