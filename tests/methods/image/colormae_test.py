"""ColorMAE: which patches a colour leaves visible, and that nothing else is changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.masks.keys import example_keys
from mdm.masks.noise import color_patterns, noise_windows
from mdm.methods.image.colormae import ColorMae
from mdm.methods.image.mae import Mae
from mdm.nn.patch_decoders import MaskedDecoder
from mdm.nn.vit import Vit

SMALL = {"patterns": 16, "size": 16}
ROWS, SIDE, N, KEPT = 64, 8, 64, 16


def make(cls=ColorMae, **settings):
  return cls(
    encoder=Vit(patch=4, width=8, depth=1, heads=2),
    decoder=MaskedDecoder(width=8, depth=1, heads=2),
    mean=(0.5,),
    deviation=(0.25,),
    **settings,
  )


def batch(rows=ROWS, **told):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (rows, 4 * SIDE, 4 * SIDE, 1)).astype(np.uint8)
  return {"image": image, "index": np.arange(rows, dtype=np.int32) + 10, **told}


def streams(seed=0):
  names = ("mask", "augment", "dropout")
  return dict(zip(names, jax.random.split(jax.random.key(seed), 3), strict=True))


def split_of(method, data):
  """What a batch's rows keep and hide; no parameter is asked."""

  def split(m):
    return m.split(data, m.prepare(data, train=False))

  return method.apply({}, rngs=streams(), method=split)


def neighbours(mask):
  """How often the right and lower neighbours of a visible patch are visible."""
  seen = ~np.asarray(mask).reshape(-1, SIDE, SIDE)
  pairs = [(seen[:, :, :-1], seen[:, :, 1:]), (seen[:, :-1], seen[:, 1:])]
  return sum((a & b).sum() for a, b in pairs) / sum(a.sum() for a, _ in pairs)


def test_the_strongest_values_of_each_examples_window_stay_visible():
  data = batch()
  found = split_of(make(**SMALL), data)
  key = jax.jit(
    lambda: Mae.apply(make(), {}, rngs=streams(), method=lambda m: m.make_rng("mask"))
  )()
  patterns = color_patterns("green", seed=0, count=16, size=16)
  windows = noise_windows(example_keys(key, jnp.asarray(data["index"])), patterns, 8, 8)
  strongest = np.sort(np.argsort(-np.asarray(windows), axis=1)[:, :KEPT], axis=1)
  np.testing.assert_array_equal(found.keep, strongest)


def test_at_the_bottom_the_weakest_stay_and_no_patch_is_visible_both_ways():
  top, bottom = (split_of(make(visible=v, **SMALL), batch()) for v in ("top", "bottom"))
  assert top.keep.shape == bottom.keep.shape == (ROWS, KEPT)
  assert (np.asarray(top.mask) | np.asarray(bottom.mask)).all()


def test_colours_are_ordered_from_spread_to_clustered():
  def clustering(color):
    return neighbours(split_of(make(colors=(color,), **SMALL), batch()).mask)

  found = [clustering(color) for color in ("blue", "white", "green", "red")]
  assert np.diff(found).min() > 0.02
  wide = neighbours(split_of(make(sigmas=(1.0, 4.0), **SMALL), batch()).mask)
  assert wide > found[2] + 0.02  # of the widths that are given


def test_nothing_but_the_masks_differs_from_mae():
  """Given MAE's scores, the loss is MAE's bit for bit; with its own it is not."""
  data = batch(4)
  keys = {"params": jax.random.key(1), **streams()}
  start = jax.jit(lambda k: make(Mae).init(k, data, train=False))
  variables = meta.unbox(start(keys))

  def loss(method):
    run = jax.jit(lambda v: method.apply(v, data, train=False, rngs=streams()))
    return float(run(variables)["loss"].value())

  class Uncoloured(ColorMae):
    """One whose scores are MAE's."""

    scores = Mae.scores

  assert loss(make(Uncoloured)) == loss(make(Mae)) != loss(make(**SMALL))
  init = jax.eval_shape(lambda: make(**SMALL).init(keys, data, train=False))
  assert jax.tree.structure(meta.unbox(init)) == jax.tree.structure(variables)


def test_a_curriculum_changes_colours_at_its_epochs_without_compiling_again():
  method = make(colors=("green", "blue", "red"), changes=(2, 4), **SMALL)

  @jax.jit
  def mask(epoch):
    return split_of(method, batch(epoch=epoch)).mask

  for epoch, color in ((0.0, "green"), (1.99, "green"), (2, "blue"), (9, "red")):
    alone = split_of(make(colors=(color,), **SMALL), batch())
    np.testing.assert_array_equal(mask(jnp.float32(epoch)), alone.mask)
  assert mask._cache_size() == 1
  first = split_of(method, batch())  # an evaluation, which knows no epoch
  np.testing.assert_array_equal(first.mask, mask(jnp.float32(0)))


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"colors": ("gren",)}, "did you mean 'green'"),
    ({"visible": "topp"}, "did you mean 'top'"),
    ({"changes": (3,)}, r"changes = \(3,\) for colors = \('green',\)"),
    ({"colors": ("green", "red")}, "one epoch for each colour but the first"),
    ({"sigmas": (2.0, 1.0)}, "positive ascending"),
    ({"size": 4}, "smaller than the patch grid of 8 x 8"),
    ({"mask_ratio": 1.0}, "1.0"),
  ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
  with pytest.raises(ValueError, match=words):
    split_of(make(**SMALL | settings), batch(2))
