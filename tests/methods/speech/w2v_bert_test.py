"""w2v-BERT: what each loss sees and teaches, whatever the padding and the devices."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import murmurs
from toys.sounds import sing

from mdm.methods.speech.w2v_bert import W2vBert

LOSSES = ("loss", "diversity", "contrast/nats", "naming/nats")


def make(**settings):
  given = {
    "negatives": 6, "contrast_width": 8, "mask_rule": "exact", "budget": 1.0
  }  # fmt: skip
  return W2vBert(**murmurs.parts(), **murmurs.SETTINGS, **given | settings)


@pytest.fixture(scope="module")
def variables():
  return murmurs.start(make())


def slopes(variables, batch=None, *, of="loss", **settings):
  """Gradient of one number with respect to every parameter."""
  batch = murmurs.murmur() if batch is None else batch

  def cost(params):
    return murmurs.losses(make(**settings), {"params": params}, batch)[of]

  return jax.jit(jax.grad(cost))(variables["params"])


def largest(tree):
  return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


@functools.cache
def plain(seed=0):
  variables = murmurs.start(make())
  return murmurs.losses(make(), variables, murmurs.murmur(), seed=seed)


def test_the_loss_is_the_weighted_sum_of_its_parts(variables):
  weights = {"beta": 0.5, "alpha": 0.3, "gamma": 2.0, "telling": 0.9}
  found = murmurs.losses(make(**weights), variables, murmurs.murmur())
  telling = 0.9 * found["contrast/nats"] + 0.3 * found["diversity"]
  expected = 0.5 * telling + 2.0 * found["naming/nats"]
  assert float(found["loss"]) == pytest.approx(float(expected), rel=1e-6)
  defaults = plain()
  assert found["contrast/nats"] == defaults["contrast/nats"]


def test_naming_teaches_the_quantiser_nothing_and_contrast_does(variables):
  assert largest(slopes(variables, of="naming/nats")["quantizer"]) == 0
  telling = slopes(variables, of="contrast/nats")
  for name in ("entries", "logits"):
    assert largest(telling["quantizer"][name]) > 1e-6
  assert largest(telling["head"]) == largest(telling["encoder"]["second"]) == 0
  spread = slopes(variables, of="diversity")
  assert largest(spread["quantizer"]["logits"]) > 0 == largest(spread["encoder"])


def test_frames_learn_from_codes_as_much_as_is_said(variables):
  """What comes to the frames through the quantiser, and nothing else, is scaled."""
  whole, half, none = (slopes(variables, target_grad=x) for x in (1.0, 0.5, 0.0))
  parts = {name: [x[name] for x in (whole, half, none)] for name in whole}
  for a, b, c in zip(*map(jax.tree.leaves, parts.pop("subsample")), strict=True):
    np.testing.assert_allclose(b, (a + c) / 2, rtol=1e-4, atol=1e-6)
    assert float(jnp.abs(a - c).max()) > 1e-4
  for a, b, c in parts.values():
    chex.assert_trees_all_close(a, b, c, rtol=1e-5, atol=1e-7)


def test_codes_are_those_of_what_is_not_hidden(variables):
  """Whatever the mask and what stands in it; without noise of their own."""

  def ids(**settings):
    batch, streams = murmurs.murmur(), murmurs.streams()
    ask = functools.partial(W2vBert.look, batch=batch, train=False)
    return make(**settings).apply(variables, rngs=streams, method=ask).quantized.ids

  one = ids()
  np.testing.assert_array_equal(one, ids(mask_ratio=0.9))
  np.testing.assert_array_equal(one, ids(noise_std=3.0))


def test_the_encoder_does_not_see_what_is_hidden(variables):
  method, batch = make(), murmurs.murmur()

  def encode(method, change):
    z, valid = method.prepare(batch, train=False)
    mask = method.draw_mask(batch, valid)
    z = jnp.where(mask[..., None], z + change, z)
    return method.encoder.both(method.hide(batch, z, mask), valid, train=False)

  run = functools.partial(method.apply, variables, rngs=murmurs.streams())
  for a, b in zip(
    run(method=lambda m: encode(m, 0.0)),
    run(method=lambda m: encode(m, 7.0)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("rows", "samples"), [(0, 4_000), (3, 0), (2, 9_999)])
def test_padding_changes_neither_losses_nor_gradients(variables, rows, samples):
  batch = murmurs.murmur()
  padded = murmurs.wider(batch, rows, samples)
  found = murmurs.losses(make(), variables, padded)
  for name, value in plain().items():
    np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
  if samples > 4_000:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      slopes(variables, padded),
      slopes(variables, batch),
    )


def test_eight_devices_compute_what_one_does(variables):
  batch = murmurs.wider(murmurs.murmur(), rows=4)
  auto = (jax.sharding.AxisType.Auto,)
  mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=auto)
  rows = jax.NamedSharding(mesh, jax.P("data"))
  spread = jax.tree.map(lambda x: jax.device_put(x, rows), batch)
  with jax.set_mesh(mesh):
    found = jax.jit(lambda b: murmurs.losses(make(), variables, b))(spread)
  for name, value in plain().items():
    np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_equal_vectors_cost_the_logarithm_of_all_choices(variables):
  """Codes differ, but all context vectors are the same: pure chance."""
  params = jax.tree.map(jnp.asarray, variables["params"])
  kernel = jnp.zeros_like(params["target"]["kernel"])
  params["target"] = {"kernel": kernel, "bias": jnp.ones_like(params["target"]["bias"])}
  found = murmurs.losses(make(), {"params": params}, murmurs.murmur())
  assert 0 < found["contrast/others"] < 6  # equal codes are dropped
  assert float(found["contrast/nats"]) < np.log(7)
  many = murmurs.losses(make(negatives=50), {"params": params}, murmurs.murmur())
  assert float(many["contrast/nats"]) > float(found["contrast/nats"])


def test_one_code_for_all_leaves_no_negative_and_no_loss(variables):
  params = jax.tree.map(jnp.asarray, variables["params"])
  bias = jnp.zeros_like(params["quantizer"]["logits"]["bias"]).at[:, 0].set(1e4)
  params["quantizer"]["logits"] = params["quantizer"]["logits"] | {"bias": bias}
  found = murmurs.losses(make(), {"params": params}, murmurs.murmur())
  assert found["contrast/nats"] == found["contrast/others"] == 0
  assert found["codes/perplexity"] == pytest.approx(1.0)
  assert float(found["diversity"]) == pytest.approx(1 - 1 / 8)


def test_negatives_that_are_all_the_target_are_an_alarm():
  method, given = make(negatives=20), {"codes/possible": 64.0, "contrast/nats": 0.0}
  told = method.alarm({**given, "contrast/others": 0.4})
  assert "contrast/others = 0.4 of 20" in told and "raise method.alpha" in told
  assert method.alarm({**given, "contrast/others": 14.0}) is None
  small = {"codes/possible": 2.0, "contrast/others": 0.0}
  assert method.alarm(small) is None and method.alarm({}) is None


def test_the_temperature_is_that_of_the_step(variables):
  """2 times 0.5^3."""
  batch, of = murmurs.murmur(), "contrast/nats"

  def at(step, *temperature):
    data = {**batch, "step": jnp.asarray(step)}
    found = slopes(variables, data, of=of, temperature=temperature)
    return found["quantizer"]["logits"]["kernel"]

  falling = (2.0, 0.1, 0.5)
  np.testing.assert_allclose(at(3, *falling), at(0, 0.25, 0.25, 1.0), rtol=1e-4)
  assert float(jnp.abs(at(3, *falling) - at(9, *falling)).max()) > 1e-6


def test_very_short_clips_have_finite_losses(variables):
  batch = sing(((), (1,), (0, 1)))
  batch = {k: v for k, v in batch.items() if k not in ("tokens", "valid")}
  found = murmurs.losses(make(mask_rule="bernoulli"), variables, batch)
  assert all(np.isfinite(v) for v in found.values())
  slope = slopes(variables, batch, mask_rule="bernoulli")
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


def test_features_have_nothing_hidden_and_need_no_key(variables):
  method, batch = make(), murmurs.murmur()
  one, valid = method.apply(variables, batch, train=False, method="hear")
  is_real = np.asarray(valid)
  assert one.shape[:2] == valid.shape and (np.asarray(one)[~is_real] == 0).all()
  clips = method.apply(variables, batch, method="encode")
  for row, heard, real in zip(clips, one, is_real, strict=True):
    np.testing.assert_allclose(row, heard[real].mean(0), rtol=1e-4, atol=1e-6)
  codes = method.apply(variables, batch, method="codes")
  assert codes.ids.shape == (*valid.shape, 2)
  np.testing.assert_array_equal(codes.valid, valid)
