"""HPM: who is hidden for being hard, what the order of losses costs, who teaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.methods.image.hpm import Hpm, order_loss, rightly_ordered, value_loss
from mdm.methods.image.mae import Mae
from mdm.nn.patch_decoders import MaskedDecoder, TwinDecoder
from mdm.nn.patches import patchify
from mdm.nn.vit import Vit
from mdm.training.place import place_in_training
from mdm.training.state import init_variables

N, KEPT, ROWS = 16, 4, 4
STEPS, EPOCH = 40, 10  # four epochs


def make(cls=Hpm, **settings):
  decoder = MaskedDecoder if cls is Mae else TwinDecoder
  return cls(
    encoder=Vit(patch=4, width=16, depth=1, heads=2),
    decoder=decoder(width=16, depth=1, heads=2),
    crop_area=(),
    flip=False,
    **settings,
  )


def batch(step=None):
  rng = np.random.default_rng(0)
  data = {
    "image": rng.integers(0, 256, (ROWS, 16, 16, 3)).astype(np.uint8),
    "index": np.arange(ROWS, dtype=np.int32) + 10,
    "weight": np.ones(ROWS, np.float32),
  }
  place = {} if step is None else place_in_training(step, 4, steps=STEPS, epoch=EPOCH)
  return data | place


def streams(seed=0):
  names = ("mask", "augment", "dropout")
  return dict(zip(names, jax.random.split(jax.random.key(seed), 3), strict=True))


@pytest.fixture(scope="module")
def variables():
  """Parameters, and a teacher unlike them."""
  found = meta.unbox(
    jax.jit(lambda x: init_variables(make(), x, 0))(jax.tree.map(jnp.asarray, batch()))
  )
  rng = np.random.default_rng(1)
  moved = jax.tree.map(
    lambda x: np.float32(x + 0.2 * rng.normal(size=x.shape)), found["teacher"]
  )
  return {"params": found["params"], "teacher": moved}


@pytest.fixture(scope="module")
def split_at():
  """A step to hidden patches and the teacher's expectations; compiled once."""

  def parts(m, step):
    image = m.prepare(batch(), train=False)
    q = m.by_teacher(m.predict_losses, image)
    return m.split(batch(step), image), q

  @jax.jit
  def run(variables, step):
    return make().apply(variables, step, rngs=streams(), method=parts)

  return run


def ask(method, variables, function):
  """What a function of the bound method returns."""
  run = jax.jit(lambda v: method.apply(v, rngs=streams(), method=function))
  return run(variables)


def split_of(method, variables, step=None):
  def split(m):
    return m.split(batch(step), m.prepare(batch(), train=False))

  return ask(method, variables, split)


@pytest.mark.parametrize("step", [0, 9, 10, 39])
def test_the_hardest_are_hidden_as_many_as_the_epoch_says(variables, split_at, step):
  split, q = jax.tree.map(np.asarray, split_at(variables, jnp.int32(step)))
  assert (split.mask.sum(1) == N - KEPT).all()
  count = int((N - KEPT) * 0.5 * (step // EPOCH + 1) / (STEPS // EPOCH))
  hardest = np.argsort(-q, axis=1)[:, :count]
  assert np.take_along_axis(split.mask, hardest, 1).all()
  assert split_at._cache_size() == 1
  following = np.argsort(-q, axis=1)[:, count : count + 3]
  assert not np.take_along_axis(split.mask, following, 1).all()


def test_without_a_share_masks_are_maes_bit_for_bit_and_so_in_evaluations(variables):
  wanted = split_of(make(Mae), {"params": variables["params"]}).mask
  for found in (
    split_of(make(hard=0.0), variables, step=39),
    split_of(make(), {"params": variables["params"]}),  # no place, and no teacher
  ):
    np.testing.assert_array_equal(found.mask, wanted)
  other = split_of(make(hard=1.0), variables, step=39).mask
  assert (np.asarray(other) != np.asarray(wanted)).any()


def test_the_whole_share_hides_the_hardest_alone(variables, split_at):
  q = np.asarray(split_at(variables, jnp.int32(0))[1])
  found = split_of(make(hard=1.0), variables, step=39)
  wanted = np.sort(np.argsort(-q, axis=1)[:, : N - KEPT], axis=1)
  np.testing.assert_array_equal(found.hide, wanted)


def test_expected_losses_of_a_whole_image_are_in_raster_order(variables):
  """Where patches are hidden, those of the hidden are the ones that losses meet."""

  def parts(m):
    image = m.prepare(batch(), train=False)
    split = m.split(batch(), image)
    some, every = (
      m.predict(image, split, of_all=x, train=False).losses for x in (False, True)
    )
    return split.hide, some, every

  hide, some, every = map(np.asarray, ask(make(), variables, parts))
  np.testing.assert_allclose(some, np.take_along_axis(every, hide, 1), atol=1e-5)

  def whole(image):
    return ask(make(), variables, lambda m: m.predict_losses(image))

  image = ask(make(), variables, lambda m: m.prepare(batch(), train=False))
  changed = np.abs(whole(image.at[:, 8:12, 4:8].add(3.0)) - whole(image))
  assert changed.shape == (ROWS, N)
  assert changed.mean(0).argmax() == 9  # of 4 x 4 patches, the second of the third row


def losses_of(method, variables, step=39):
  return method.apply(variables, batch(step), train=True, rngs=streams())


def test_the_losses_are_those_computed_by_hand(variables):
  def parts(m):
    image = m.prepare(batch(), train=False)
    split = m.split(batch(39), image)
    predicted = m.predict(image, split, train=False)
    return patchify(image, 4), split.hide, *predicted

  method = make()
  patches, hide, predicted, r = map(np.asarray, ask(method, variables, parts))
  target = np.take_along_axis(patches, hide[..., None], 1)
  losses = np.square(predicted - target).mean(-1)
  found = jax.jit(lambda v: losses_of(method, v))(variables)
  np.testing.assert_allclose(found["loss/patches"].value(), losses.mean(), rtol=1e-5)
  costs, right = [], []
  for row in range(ROWS):
    for i in range(N - KEPT):
      for j in range(N - KEPT):
        if losses[row, j] > losses[row, i]:
          d = r[row, j] - r[row, i]
          costs.append(np.log1p(np.exp(-d)))
          right.append(d > 0)
  np.testing.assert_allclose(found["loss/order"].value(), np.mean(costs), rtol=1e-5)
  np.testing.assert_allclose(found["order/right"].value(), np.mean(right), rtol=1e-5)


@pytest.fixture(scope="module")
def gradients(variables):
  """Of either loss with respect to parameters and teacher."""

  def loss(variables, name):
    return losses_of(make(), variables)[name].value()

  run = jax.jit(jax.grad(loss), static_argnums=1)
  return {name: run(variables, f"loss/{name}") for name in ("patches", "order")}


def largest(tree):
  return max(float(np.abs(x).max()) for x in jax.tree.leaves(tree))


def test_no_gradient_reaches_the_teacher(gradients):
  for found in gradients.values():
    assert largest(found["teacher"]) == 0


def test_the_order_moves_the_encoder_and_the_mask_token_but_no_reconstruction(
  gradients,
):
  found = gradients["order"]["params"]
  assert largest(found["encoder"]["patch_embed"]) > 0
  assert largest(found["decoder"]["mask_embedding"]) > 0
  for part in ("stack", "head"):  # the target is not pulled towards its prediction
    assert largest(found["decoder"][part]) == 0
    assert largest(gradients["patches"]["params"]["decoder"][f"loss_{part}"]) == 0


def test_the_teacher_has_all_that_predicts_losses_and_nothing_else(variables):
  kept = variables["teacher"]
  assert set(kept) == {"encoder", "decoder"}
  assert jax.tree.structure(kept["encoder"]) == jax.tree.structure(
    variables["params"]["encoder"]
  )
  assert set(kept["decoder"]) == {"embed", "mask_embedding", "loss_stack", "loss_head"}


@pytest.mark.parametrize(
  ("epoch", "decay"),
  [
    (0, 0.999),
    (0.9, 0.999),
    (50, 0.99945),
    (99, 0.999891),
    (100, 0.9999),
    (500, 0.9999),
  ],
)
def test_the_teachers_decay_grows_over_a_hundred_epochs(epoch, decay):
  found = make().teacher_decay(jnp.float32(epoch))
  np.testing.assert_allclose(found, decay, rtol=1e-7)


def random_losses(seed=0):
  rng = np.random.default_rng(seed)
  r, losses = rng.normal(size=(2, 3, 12)).astype(np.float32)
  return jnp.asarray(r), jnp.asarray(losses), jnp.ones((3, 12))


def test_the_order_asks_neither_for_a_level_nor_for_a_scale():
  r, losses, w = random_losses()
  base = order_loss(r, losses, w).value()
  shift = jnp.array([[5.0], [-3.0], [0.5]])
  np.testing.assert_allclose(order_loss(r + shift, losses, w).value(), base, rtol=1e-5)
  assert order_loss(r, jnp.exp(3 * losses) - 7, w).value() == base


def test_the_order_is_free_where_it_is_right_and_costs_a_bit_where_nothing_is_said():
  _, losses, w = random_losses()
  ranks = jnp.argsort(jnp.argsort(losses)).astype(jnp.float32)
  assert order_loss(50 * ranks, losses, w).value() < 1e-6
  np.testing.assert_allclose(
    order_loss(jnp.zeros_like(losses), losses, w).value(), np.log(2), rtol=1e-5
  )
  assert rightly_ordered(ranks, losses, w).value() == 1
  assert rightly_ordered(-ranks, losses, w).value() == 0


def test_equal_losses_count_for_nothing_and_neither_do_rows_that_fill_a_batch():
  r, losses, w = random_losses()
  tied = losses.at[:, 6:].set(losses[:, :1])
  found = order_loss(r, tied, w)
  assert found.weight == 3 * (12 * 11 / 2 - 7 * 6 / 2)  # seven are equal
  assert order_loss(r, jnp.zeros_like(losses), w).value() == 0
  real = w.at[2].set(0.0)
  whole, part = order_loss(r, losses, real), order_loss(r[:2], losses[:2], w[:2])
  assert whole.weight == part.weight == 2 * 66
  np.testing.assert_allclose(whole.total, part.total, rtol=1e-6)


def test_values_are_compared_with_losses_of_mean_0_and_variance_1():
  r, losses, w = random_losses()
  rows = np.asarray(losses)
  target = rows - rows.mean(1, keepdims=True)
  target /= np.sqrt(rows.var(1, ddof=1, keepdims=True) + 1e-6)
  wanted = np.square(np.asarray(r) - target).mean()
  np.testing.assert_allclose(value_loss(r, losses, w).value(), wanted, rtol=1e-5)
  slope = jax.grad(lambda x: value_loss(r, x, w).value())(losses)
  assert (slope == 0).all()


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"comparison": "relativ"}, "did you mean 'relative'"),
    ({"hard": 50.0}, r"from 0.0 to 50.0 lie outside \[0, 1\]"),
    ({"mask_ratio": 1.0}, "1.0"),
  ],
)
def test_settings_that_cannot_be_are_refused(variables, settings, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda v: losses_of(make(**settings), v), variables)
