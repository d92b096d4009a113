"""The reference problem of masked autoencoders."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from toys.steps import SMALL

from mdm.evaluation.steps import mae as step_mae
from mdm.evaluation.steps.problems import find_problem, problem_config
from mdm.training import build, config


def small(*more):
  cfg = problem_config(find_problem("image.mae"), [*SMALL, *more])
  return build.build_method(cfg), cfg


def test_sizes_and_optimiser_are_those_of_the_published_config():
  ours = step_mae.make_config()
  published = config.load("configs/image/mae_imagenet.py")
  for network in ("encoder", "decoder"):
    theirs = published.model[network].to_dict()
    assert theirs == {**theirs, **ours.model[network].to_dict()}
    assert set(theirs) - set(ours.model[network]) == {"scan", "remat"}
  for name in ("learning_rate", "weight_decay", "b1", "b2", "eps", "clip", "name"):
    assert ours.optimizer[name] == published.optimizer[name]
  for name in ("mask_ratio", "norm_pixels"):
    assert ours.method[name] == published.method[name]


def test_the_peer_is_told_every_size():
  method, cfg = small("model.encoder.mlp_ratio=2", "method.mask_ratio=0.5")
  told = step_mae.describe(method, cfg)
  assert told["image_size"] == 64 and told["patch_size"] == 16
  assert told["hidden_size"] == 16 and told["intermediate_size"] == 32
  assert told["decoder_hidden_size"] == 8 and told["decoder_intermediate_size"] == 32
  assert told["mask_ratio"] == 0.5 and told["norm_pix_loss"] is True


def test_the_peer_has_no_rectangular_images():
  with pytest.raises(ValueError, match="64 x 32 has no peer"):
    step_mae.describe(*small("data.image_size=(64, 32)"))


def test_shares_count_the_class_token():
  shares = [part.share for part in step_mae.encoder_parts(*small())]
  assert shares == [1.0, 9 / 17, 5 / 17, 2 / 17]  # 16, 8, 4 and 1 of 16 patches
  without = step_mae.encoder_parts(*small("model.encoder.has_cls=False"))
  assert [part.share for part in without] == [1.0, 0.5, 0.25, 1 / 16]


def test_a_part_reads_the_patches_that_are_left_and_no_others():
  method, cfg = small("model.encoder.has_cls=False", "model.encoder.has_norm=False")
  batch = {k: jnp.asarray(v) for k, v in step_mae.draw_batch(cfg).items()}
  keys = {k: jax.random.key(0) for k in ("params", "mask", "augment", "dropout")}
  fresh = jax.jit(functools.partial(method.init, train=True))(keys, batch)
  params = meta.unbox(fresh)["params"]
  keep = np.array([[0], [5]], np.int32)

  @jax.jit
  def value(image):
    return step_mae.encode(method, keep, params, batch | {"image": image})

  image = np.array(batch["image"])
  elsewhere = image.copy()
  elsewhere[0, 16:] = 0  # patch 0 is the first 16 rows and columns
  assert value(elsewhere) == value(image)
  elsewhere[0, :16, :16] = 0
  assert value(elsewhere) != value(image)
