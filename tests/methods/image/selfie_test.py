"""Multiple choice of patches: who sees what, and what an order may change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.pictures import ask, away_from_zero, pictures, start, streams

from mdm.methods.image.classify import Classify
from mdm.methods.image.selfie import Selfie
from mdm.nn.patches import patchify, take_tokens, unpatchify
from mdm.nn.resnet import ResNet
from mdm.nn.transformer import Transformer

N, HIDDEN, SIDE = 16, 4, 4
NETWORK = {"widths": (4, 6, 8, 10), "depths": (1, 1, 1, 1), "block": "basic",
           "stem": "small"}  # fmt: skip


def make(norm="batch", dropout=0.0, **settings):
  return Selfie(
    encoder=ResNet(**NETWORK, groups=3, norm=norm),
    pooling=Transformer(depth=1, heads=2, mlp_ratio=0.625, dropout=dropout),
    patch=SIDE,
    **settings,
  )


def moved(variables):
  """Parameters and running means with noise, running variances as they are."""
  return jax.tree_util.tree_map_with_path(
    lambda path, x, y: x if "var" in str(path[-1]) else y,
    variables,
    away_from_zero(variables, 0.3),
  )


@pytest.fixture(scope="module")
def variables():
  return moved(start(make(), pictures()))


@pytest.fixture(scope="module")
def scene(variables):
  """Pixels, a split and the logits of the usual way."""
  image, split = ask(make(), variables, draw)
  return image, split, match(variables, image, split)


def draw(method, data=None):
  data = data or pictures()
  image = method.prepare(data, train=False)
  return image, method.split(data, image)


def match(variables, image, split, **settings):
  return ask(
    make(**settings),
    variables,
    lambda m, i, s: m.match(i, s, train=False),
    image,
    split,
  )


def call(method, variables, data):
  run = jax.jit(lambda v, d: method.apply(v, d, train=False, rngs=streams()))
  return run(variables, data)


def test_context_and_hidden_patches_are_disjoint_cover_all_and_have_exact_counts():
  for side, patch, counts in ((32, 8, (12, 4)), (56, 8, (37, 12))):
    data, method = pictures(side=side), make().clone(patch=patch)
    _, split = ask(method, {}, lambda m, data=data: draw(m, data))
    assert (split.keep.shape[1], split.hide.shape[1]) == counts
    both = np.sort(np.concatenate([split.keep, split.hide], axis=1))
    np.testing.assert_array_equal(
      both, np.broadcast_to(np.arange(sum(counts)), both.shape)
    )
    assert len(np.unique(split.mask, axis=0)) > 1


def test_the_order_of_the_context_changes_nothing_and_that_of_candidates_the_logits(
  variables, scene
):
  image, split, logits = scene
  turned = split._replace(keep=split.keep[:, ::-1])
  np.testing.assert_allclose(match(variables, image, turned), logits, atol=1e-5)
  order = np.array([2, 0, 3, 1])
  others = split._replace(hide=split.hide[:, order])
  found = match(variables, image, others)
  np.testing.assert_allclose(found, logits[:, order][:, :, order], atol=1e-5)


@pytest.mark.parametrize("context_pos", [False, True])
def test_where_the_context_was_matters_if_and_only_if_it_is_told(
  variables, scene, context_pos
):
  image, split, _ = scene
  patches = np.asarray(patchify(image, SIDE)).copy()
  for row, keep in zip(patches, np.asarray(split.keep), strict=True):
    row[keep] = row[keep[::-1]]
  shuffled = unpatchify(jnp.asarray(patches), (SIDE, SIDE), 3)
  before, after = (
    match(variables, x, split, context_pos=context_pos) for x in (image, shuffled)
  )
  assert bool(np.allclose(before, after, atol=1e-5)) != context_pos


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_an_untrained_network_guesses(norm):
  data, method = pictures(rows=32), make(norm)
  losses = call(method, start(method, data), data)
  assert losses["loss"].value() == pytest.approx(np.log(HIDDEN), abs=0.1)
  assert losses["accuracy"].value() == pytest.approx(1 / HIDDEN, abs=0.12)  # 3 dev.
  assert losses["accuracy"].weight == 32 * HIDDEN


def test_a_patch_s_features_are_those_of_the_patch_alone(variables, scene):
  image = scene[0]

  def embed(m, image):
    return m.embed(image, train=False)

  features = ask(make(), variables, embed, image)
  patches = patchify(image, SIDE).reshape(4, N, SIDE, SIDE, 3)
  for place in (0, 7):
    alone = ask(make(), variables, embed, patches[:, place])
    np.testing.assert_allclose(alone[:, 0], features[:, place], atol=1e-5)


def test_distractors_and_context_come_from_the_same_image(variables, scene):
  image, split, logits = scene
  found = match(variables, image.at[1:].add(1.0), split)
  np.testing.assert_array_equal(found[0], logits[0])
  assert (found[1:] != logits[1:]).any((1, 2)).all()


def test_a_hidden_patch_is_a_candidate_and_nothing_else(variables, scene):
  image, split, logits = scene
  patches = patchify(image, SIDE).at[0, int(split.hide[0, 1])].add(1.0)
  found = match(variables, unpatchify(patches, (SIDE, SIDE), 3), split)
  changed = np.asarray(found != logits)
  assert changed[0, :, 1].all()
  assert changed.sum() == HIDDEN


def test_logits_and_loss_are_those_of_the_equations(variables, scene):
  image, split, logits = scene
  p = variables["params"]

  def by_hand(m):
    h = m.embed(image, train=False)
    e = (p["row_embedding"][:, None] + p["column_embedding"]).reshape(1, N, -1)
    first = jnp.broadcast_to(p["query"], (4, 1, 8))
    context = take_tokens(h, split.keep) + take_tokens(e, split.keep)
    u = m.pooling(jnp.concatenate([first, context], 1), train=False)[:, 0]
    hidden = take_tokens(h, split.hide)
    v = u[:, None] + take_tokens(e, split.hide)
    return jnp.stack([v[i] @ hidden[i].T for i in range(4)])

  plain = np.asarray(ask(make(), variables, by_hand))
  np.testing.assert_allclose(logits, plain / 8**0.5, rtol=1e-4, atol=1e-5)
  unscaled = match(variables, image, split, scaled=False)
  np.testing.assert_allclose(unscaled, plain, rtol=1e-4, atol=1e-5)
  share = np.exp(plain / 8**0.5)
  share = np.einsum("bll->bl", share / share.sum(-1, keepdims=True))
  data = pictures()
  data["weight"] = np.array([1, 0, 1, 1], np.float32)
  found = call(make(), variables, data)
  real = data["weight"] > 0
  np.testing.assert_allclose(
    found["loss"].value(), -np.log(share[real]).mean(), rtol=1e-4
  )
  is_right = plain.argmax(-1) == np.arange(HIDDEN)
  np.testing.assert_allclose(found["accuracy"].value(), is_right[real].mean())


def test_the_gradient_reaches_context_candidates_and_places(variables, scene):
  image, split, _ = scene

  @jax.jit
  @jax.grad
  def gradient(given):
    variables, image = given
    logits = make().apply(
      variables, image, split, train=False, method="match", rngs=streams()
    )
    return jnp.square(logits - 3.0).sum()

  weights, pixels = gradient((variables, image))
  reached = np.abs(patchify(pixels, SIDE)).sum(-1) > 0
  assert reached.mean() > 0.9  # 8 rectifiers may all be off
  for name in ("query", "row_embedding", "column_embedding"):
    assert (np.abs(weights["params"][name]).sum(-1) > 0).all()


def test_49_places_are_7_rows_and_7_columns_or_a_vector_each():
  data = pictures(rows=1, side=28)
  ways = [make(positions=name) for name in ("factorised", "plain")]
  shapes = [jax.eval_shape(lambda m=m: start(m, data)) for m in ways]
  params, plain = (tree["params"] for tree in shapes)
  assert params["row_embedding"].shape == params["column_embedding"].shape == (7, 8)
  assert "position_embedding" not in params
  assert plain["position_embedding"].shape == (49, 8)
  assert "row_embedding" not in plain


def test_the_query_may_be_zeros_as_in_one_public_code(variables, scene):
  image, split, _ = scene
  params = dict(variables["params"])
  nothing = variables | {"params": params | {"query": 0 * params.pop("query")}}
  without = variables | {"params": params}
  np.testing.assert_allclose(
    match(without, image, split, query="zeros"), match(nothing, image, split), atol=1e-6
  )


def test_fine_tuning_takes_the_stem_and_three_groups_and_starts_the_rest_afresh(
  variables,
):
  whole = Classify(encoder=ResNet(**NETWORK), num_classes=3)
  data = pictures() | {"label": np.array([0, 1, 2, 0], np.int32)}
  fresh = start(whole, data)["params"]["encoder"]
  learned = variables["params"]["encoder"]
  shared = {"stem", "stage_1", "stage_2", "stage_3"}
  assert set(learned) == shared | {"norm"}
  assert set(fresh) == shared | {"stage_4", "norm"}
  for name in shared:
    assert jax.tree.map(jnp.shape, learned[name]) == jax.tree.map(
      jnp.shape, fresh[name]
    )
  assert learned["norm"]["scale"].shape != fresh["norm"]["scale"].shape


def test_features_of_a_whole_image_are_the_mean_of_its_map(variables):
  data = pictures()

  def maps(m):
    return m.encoder(m.prepare(data, train=False), train=False)

  found = ask(make(), variables, lambda m: m.encode(data))
  np.testing.assert_allclose(
    found, ask(make(), variables, maps).mean((1, 2)), atol=1e-5
  )


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"mask_ratio": 0.1}, "no distractor"),
    ({"mask_ratio": 25.0}, "write 0.75"),
    ({"mask_ratio": 0.01}, "leaves none hidden"),
    ({"patch": 5}, "does not tile"),
    ({"positions": "factorized"}, "did you mean 'factorised'"),
    ({"query": "zero"}, "did you mean 'zeros'"),
  ],
)
def test_what_cannot_be_is_refused_before_anything_is_compiled(settings, words):
  method = make().clone(**settings)
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: start(method, pictures()))
