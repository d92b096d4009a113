"""Position prediction: nothing tells places but what the patches show."""

import jax
import numpy as np
import pytest
from toys.pictures import ask, away_from_zero, pictures, start, streams

from mdm.masks.scores import split_by_mask
from mdm.methods.image.mp3 import Mp3, place_targets
from mdm.nn.patches import patchify, take_tokens, unpatchify
from mdm.nn.vit import Vit

N, KEPT, SIDE = 16, 4, 4


def make(positions="none", has_cls=False, **settings):
  encoder = Vit(
    patch=SIDE, width=16, depth=2, heads=2, positions=positions, has_cls=has_cls
  )
  return Mp3(encoder=encoder, **settings)


@pytest.fixture(scope="module")
def variables():
  return away_from_zero(start(make(), pictures()))


@pytest.fixture(scope="module")
def scene(variables):
  """Pixels, a split and the logits of the usual way."""
  image, split = ask(make(), variables, draw)
  return image, split, locate(variables, image, split)


def draw(method):
  image = method.prepare(pictures(), train=False)
  return image, method.split(pictures(), image)


def locate(variables, image, split, **settings):
  return ask(
    make(**settings),
    variables,
    lambda m, i, s: m.locate(i, s, train=False),
    image,
    split,
  )


def call(method, variables, data, train=False):
  run = jax.jit(lambda v, d: method.apply(v, d, train=train, rngs=streams()))
  return run(variables, data)


def test_permuted_patches_with_their_roles_give_permuted_logits(variables, scene):
  image, split, logits = scene
  order = jax.random.permutation(jax.random.key(3), N)
  patches = patchify(image, SIDE)[:, order]
  turned = unpatchify(patches, (SIDE, SIDE), 3)
  roles = split_by_mask(split.mask[:, order], KEPT)
  found = locate(variables, turned, roles)
  np.testing.assert_allclose(found, logits[:, order], atol=1e-5)


def test_a_patch_outside_of_the_context_changes_its_own_row_only(variables, scene):
  image, split, logits = scene
  place = int(split.hide[0, 0])
  patches = patchify(image, SIDE).at[0, place].add(1.0)
  found = locate(variables, unpatchify(patches, (SIDE, SIDE), 3), split)
  changed = np.asarray((found != logits).any(-1))
  assert changed[0, place]
  assert changed.sum() == 1


def test_a_patch_of_the_context_changes_every_row_of_its_image_and_no_other(
  variables, scene
):
  image, split, logits = scene
  patches = patchify(image, SIDE).at[0, int(split.keep[0, 0])].add(1.0)
  found = locate(variables, unpatchify(patches, (SIDE, SIDE), 3), split)
  changed = np.asarray((found != logits).any(-1))
  assert changed[0].all()
  assert not changed[1:].any()


def test_gathered_keys_and_hidden_keys_agree_in_values_and_gradients(variables, scene):
  image, split, logits = scene
  hidden = locate(variables, image, split, context="mask")
  np.testing.assert_allclose(hidden, logits, atol=1e-5)
  data = pictures()

  def gradient(variables, way):
    def loss(variables):
      method = make(context=way)
      return method.apply(variables, data, train=False, rngs=streams())["loss"].total

    return jax.grad(loss)(variables)

  both = jax.jit(lambda v: [gradient(v, way) for way in ("gather", "mask")])(variables)
  for ours, other in zip(*map(jax.tree.leaves, both), strict=True):
    np.testing.assert_allclose(ours, other, atol=1e-4 * np.abs(ours).max() + 1e-6)


def test_without_hidden_patches_it_is_plain_self_attention(variables):
  def parts(m):
    image, split = draw(m)
    head = m.variables["params"]["head"]
    plain = m.encoder(image, train=False) @ head["kernel"] + head["bias"]
    return split.keep, m.locate(image, split, train=False), plain

  keep, ours, plain = ask(make(mask_ratio=0.0), variables, parts)
  np.testing.assert_array_equal(keep, np.broadcast_to(np.arange(N), (4, N)))
  np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_the_context_is_updated_layer_by_layer_as_if_it_were_alone(variables, scene):
  """Contexts frozen at their embeddings, as in one public code, would differ."""
  image, split, logits = scene

  def alone(m):
    head = m.variables["params"]["head"]
    tokens = m.encoder(image, keep=split.keep, train=False)
    return tokens @ head["kernel"] + head["bias"]

  found = ask(make(), variables, alone)
  np.testing.assert_allclose(take_tokens(logits, split.keep), found, atol=1e-5)


def test_equal_patches_of_one_role_cannot_be_told_apart(variables, scene):
  image, split, _ = scene
  patches = patchify(image, SIDE)
  for role in (split.hide, split.keep):
    first, second = int(role[0, 0]), int(role[0, 1])
    same = patches.at[0, first].set(patches[0, second])
    logits = locate(variables, unpatchify(same, (SIDE, SIDE), 3), split)
    np.testing.assert_allclose(logits[0, first], logits[0, second], atol=1e-5)


def test_an_untrained_network_guesses_and_contexts_have_their_exact_size():
  data = pictures(rows=16)
  fresh = start(make(), data)
  losses = call(make(), fresh, data)
  assert losses["loss"].value() == pytest.approx(np.log(N), abs=0.1)
  for group, each in (("context", KEPT), ("hidden", N - KEPT)):
    assert losses[f"accuracy/{group}"].weight == 16 * each
    assert losses[f"accuracy/{group}"].value() < 3 / N


def test_the_context_has_l_minus_int_eta_l_patches_of_its_own_in_every_image(variables):
  for ratio, kept in ((0.75, 4), (0.5, 8), (0.9, 2), (0.1, 15)):
    _, split = ask(make(mask_ratio=ratio), variables, draw)
    assert ((~split.mask).sum(1) == kept).all()
    assert len(np.unique(split.mask, axis=0)) > 1


@pytest.mark.parametrize("loss_on", ["all", "hidden"])
def test_the_loss_is_the_cross_entropy_of_true_places_by_hand(
  variables, scene, loss_on
):
  _, split, logits = scene
  data = pictures()
  data["weight"] = np.array([1, 1, 1, 0], np.float32)
  logits = np.asarray(logits, np.float64)
  nats = np.log(np.exp(logits).sum(-1)) - logits[:, np.arange(N), np.arange(N)]
  is_right = logits.argmax(-1) == np.arange(N)
  mask = np.asarray(split.mask)
  counted = mask[:3] if loss_on == "hidden" else np.ones_like(mask[:3])
  found = call(make(loss_on=loss_on), variables, data)
  np.testing.assert_allclose(found["loss"].value(), nats[:3][counted].mean(), rtol=1e-5)
  assert found["loss"].weight == counted.sum()
  for group, chosen in (("context", ~mask[:3]), ("hidden", mask[:3])):
    wanted = is_right[:3][chosen]
    assert found[f"accuracy/{group}"].total == wanted.sum()
    assert found[f"accuracy/{group}"].weight == wanted.size


def test_smoothed_places_sum_to_one_and_depend_on_distance_alone():
  weights = np.asarray(place_targets(3, 4, 1.5))
  np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-6)
  places = np.stack(np.divmod(np.arange(12), 4), -1)
  square = ((places[:, None] - places) ** 2).sum(-1)
  by_hand = np.exp(-square / 1.5**2)
  by_hand /= by_hand.sum(-1, keepdims=True)
  np.testing.assert_allclose(weights, by_hand, rtol=1e-5)
  np.testing.assert_array_equal(place_targets(3, 4, 0.0), np.eye(12))
  near = place_targets(3, 4, 1e-3)
  np.testing.assert_array_equal(near, np.eye(12))


def test_smoothing_fades_with_the_training_and_is_none_in_evaluation(variables, scene):
  nats = -np.asarray(jax.nn.log_softmax(scene[2]))

  def loss(**place):
    data = {**pictures(), **place}
    return call(make(smoothing=2.0), variables, data)["loss"].value()

  for progress in (0.0, 0.75):
    target = np.asarray(place_targets(SIDE, SIDE, 2.0 * (1 - progress)))
    wanted = (target * nats).sum(-1).mean()
    np.testing.assert_allclose(loss(progress=np.float32(progress)), wanted, rtol=1e-5)
  plain = call(make(), variables, pictures())["loss"].value()
  np.testing.assert_allclose(loss(), plain, rtol=1e-6)


def test_dropped_colours_leave_whole_patches_grey_in_training_only(variables):
  data, method = pictures(rows=16), make(color_drop=0.5, crop_area=(), flip=False)

  def pixels(m, train):
    return m.to_pixels(m.prepare(data, train=train))

  image = ask(method, variables, lambda m: pixels(m, True))
  plain = ask(method, variables, lambda m: pixels(m, False))
  patches = np.asarray(patchify(image, SIDE)).reshape(16, N, -1, 3)
  is_grey = np.ptp(patches, axis=-1).max(-1) < 1e-6
  assert is_grey.mean() == pytest.approx(0.5, abs=0.1)  # 256 patches: 3 deviations
  originals = np.asarray(patchify(plain, SIDE)).reshape(patches.shape)
  np.testing.assert_allclose(patches[~is_grey], originals[~is_grey], atol=1e-6)
  grey = originals[is_grey].mean(-1, keepdims=True)
  np.testing.assert_allclose(patches[is_grey], grey + 0 * patches[is_grey], atol=1e-6)
  np.testing.assert_allclose(plain, data["image"] / 255, atol=1e-6)


def test_jitter_changes_colours_in_training(variables):
  method = make(jitter=0.4, crop_area=(), flip=False)
  changed, plain = (
    ask(method, variables, lambda m, t=train: m.prepare(pictures(), train=t))
    for train in (True, False)
  )
  assert (np.abs(changed - plain).mean((1, 2, 3)) > 1e-2).all()


def test_the_cost_of_attention_falls_with_the_hidden_share():
  data = pictures(rows=1, side=32)  # 64 patches

  def work(**settings):
    method = make(**settings)
    fresh = jax.eval_shape(lambda: start(method, data))
    run = jax.jit(lambda v: method.apply(v, data, train=False, rngs=streams()))
    return run.lower(fresh).cost_analysis()["flops"]

  n, width, layers = 64, 16, 2
  keys_and_products = layers * (4 * n * width**2 + 4 * n**2 * width)
  saved = work(mask_ratio=0.0) - work(mask_ratio=0.75)
  assert saved == pytest.approx(0.75 * keys_and_products, rel=0.25)
  assert work(context="mask") > work() + saved / 2


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"positions": "sincos"}, "set positions='none'"),
    ({"has_cls": True}, "has_cls=False"),
    ({"crop_pad": 4}, "tells where a patch was"),
    ({"mask_ratio": 0.0, "loss_on": "hidden"}, "loss_on='all'"),
    ({"loss_on": "masked"}, "did you mean"),
    ({"context": "gathered"}, "did you mean 'gather'"),
    ({"mask_ratio": 75.0}, "write 0.75"),
  ],
)
def test_what_would_tell_places_is_refused_before_anything_is_compiled(settings, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: start(make(**settings), pictures()))
