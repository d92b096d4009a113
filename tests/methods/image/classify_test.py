"""Classification of images: what the head reads, what trains, and the loss by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.methods.image.classify import Classify
from mdm.nn.columns import Columns
from mdm.nn.vit import Vit
from mdm.training.optimizer import layer_depths

ROWS, CLASSES = 6, 5


class Bytes(nn.Module):
  """Features that are the image's own values: as maps, rows of tokens or one vector."""

  shape: str = "maps"

  @nn.compact
  def __call__(self, image, *, train):
    scale = self.param("scale", nn.initializers.ones, ())
    x = image * scale
    if self.shape == "maps":
      return x
    b, _, _, c = x.shape
    tokens = x.reshape(b, -1, c)
    return tokens if self.shape == "tokens" else tokens.mean(1)


class Loud(Bytes):
  """Refuses to be run as in training."""

  @nn.compact
  def __call__(self, image, *, train):
    assert not train
    return image * self.param("scale", nn.initializers.ones, ())


def batch(rows=ROWS, seed=0, channels=3):
  rng = np.random.default_rng(seed)
  return {
    "image": rng.integers(0, 256, (rows, 8, 8, channels)).astype(np.uint8),
    "label": rng.integers(0, CLASSES, rows).astype(np.int32),
    "index": np.arange(rows, dtype=np.int32),
    "weight": np.ones(rows, np.float32),
  }


def make(encoder=None, **settings):
  plain = {"crop_area": (), "flip": False, "head_deviation": 0.5}
  encoder = encoder or Bytes()
  return Classify(encoder=encoder, num_classes=CLASSES, **plain | settings)


def streams(seed=0):
  a, b = jax.random.split(jax.random.key(seed))
  return {"augment": a, "dropout": b}


def start(method, data=None, seed=0):
  keys = {"params": jax.random.key(seed), **streams()}
  data = data or batch()
  return meta.unbox(jax.jit(lambda k: method.init(k, data, train=True))(keys))


def run(method, variables, data, *, train=False, seed=0):
  call = jax.jit(lambda v: method.apply(v, data, train=train, rngs=streams(seed)))
  return call(variables)


def ask(method, variables, function):
  """What a function of the bound method returns."""
  call = jax.jit(lambda v: method.apply(v, rngs=streams(), method=function))
  return call(variables)


def gradient(method, variables, data):
  def loss(params):
    given = {**variables, "params": params}
    means, _ = method.apply(
      given, data, train=True, rngs=streams(), mutable=["batch_stats"]
    )
    return means["loss"].value()

  return jax.jit(jax.grad(loss))(variables["params"])


def normalised(data):
  mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  return (data["image"] / 255 - mean) / deviation


def test_loss_and_accuracy_are_those_of_softmax_regression_on_the_pooled_features():
  data, method = batch(), make(norm=None)
  data["weight"][-1] = 0
  variables = start(method)
  kernel, bias = (
    np.asarray(variables["params"]["head"][k]) for k in ("kernel", "bias")
  )
  logits = normalised(data).mean((1, 2)) @ kernel + bias
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  nats = -np.log(p[np.arange(ROWS), data["label"]])
  found = run(method, variables, data)
  np.testing.assert_allclose(found["loss"].value(), nats[:-1].mean(), rtol=1e-5)
  right = (logits.argmax(1) == data["label"])[:-1]
  assert float(found["accuracy"].value()) == pytest.approx(right.mean())
  named = ask(method, variables, lambda m: m.classify(data))
  np.testing.assert_allclose(named, p, rtol=1e-4)


def test_maps_tokens_and_vectors_of_the_same_values_are_named_alike():
  data = batch()
  methods = [make(Bytes(shape)) for shape in ("maps", "tokens", "vector")]
  variables = start(methods[0])
  a, b, c = (run(m, variables, data)["loss"].value() for m in methods)
  np.testing.assert_allclose([b, c], a, rtol=1e-5)


@pytest.mark.parametrize(
  "encoder",
  [
    Vit(patch=4, width=8, depth=1, heads=2, has_norm=False),
    Columns(width=8, stem=(4,), window=2, stride=2, depth=1, heads=2),
  ],
  ids=["vit", "columns"],
)
def test_any_encoder_of_images_can_be_classified_with(encoder):
  method = make(encoder)
  p = ask(method, start(method), lambda m: m.classify(batch()))
  assert p.shape == (ROWS, CLASSES)
  np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)


def test_the_class_token_alone_is_read_where_it_is_asked_for():
  encoder = Vit(patch=4, width=8, depth=1, heads=2, has_norm=False)
  method, data = make(encoder, pool="cls", norm=None), batch()
  variables = start(method)
  tokens = encoder.apply(
    {"params": variables["params"]["encoder"]},
    jnp.asarray(normalised(data), jnp.float32),
  )
  head = variables["params"]["head"]
  wanted = nn.softmax(tokens[:, 0] @ head["kernel"] + head["bias"])
  found = ask(method, variables, lambda m: m.classify(data))
  np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_layer_norm_ends_the_pooled_features():
  method, data = make(), batch()
  variables = start(method)
  x = normalised(data).mean((1, 2))
  x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
  head = variables["params"]["head"]
  wanted = nn.softmax(x @ head["kernel"] + head["bias"])
  found = ask(method, variables, lambda m: m.classify(data))
  np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_smoothing_gives_every_class_its_share_in_training_only():
  data, s = batch(), 0.2
  plain, smooth = make(norm=None), make(norm=None, smoothing=s)
  variables = start(plain)
  logs = jnp.log(ask(plain, variables, lambda m: m.classify(data)))
  right = logs[np.arange(ROWS), data["label"]]
  wanted = -((1 - s) * right + s * logs.mean(1)).mean()
  found = run(smooth, variables, data, train=True)["loss"].value()
  np.testing.assert_allclose(found, wanted, rtol=1e-5)
  a, b = (run(m, variables, data)["loss"].value() for m in (plain, smooth))
  assert a == b


def test_mixing_mixes_images_and_targets_by_the_same_share():
  """An image that shows its label linearly: the loss is linear in the mix as well."""
  data = batch()
  data["image"][:] = 51 * data["label"][:, None, None, None]
  method = make(norm=None, mixup=0.8, mean=(0.0,), deviation=(1.0,))
  hot = nn.one_hot(data["label"], CLASSES)
  pixels = jnp.asarray(data["image"] / 255, jnp.float32)
  image, target = ask(method, start(method), lambda m: m.mix(data, pixels, hot))
  np.testing.assert_allclose(
    image[:, 0, 0, 0], target @ (np.arange(CLASSES) / 5), atol=1e-6
  )
  assert not np.allclose(target, hot)
  np.testing.assert_allclose(target.sum(1), 1, rtol=1e-5)


def test_mixing_and_erasing_are_left_out_of_evaluation():
  data, variables = batch(), start(make())
  wild = make(mixup=0.8, cutmix=1.0, erasing=1.0)
  calm, other = (run(m, variables, data)["loss"].value() for m in (make(), wild))
  assert calm == other
  trained = run(wild, variables, data, train=True)["loss"].value()
  assert abs(trained - calm) > 1e-4


def test_a_probe_trains_the_head_alone_and_runs_the_encoder_as_in_evaluation():
  method = make(Loud(), trains="head", norm="batch")
  variables = start(method)
  grads = gradient(method, variables, batch())
  assert float(jnp.abs(grads["encoder"]["scale"])) == 0
  assert float(jnp.abs(grads["head"]["kernel"]).max()) > 0
  paths = ("encoder/scale", "head/kernel", "head/bias", "norm/scale")
  assert [method.trainable(p) for p in paths] == [False, True, True, True]
  assert all(make().trainable(p) for p in paths)


def test_fine_tuning_trains_the_encoder_too():
  method = make()
  variables = start(method)
  assert float(jnp.abs(gradient(method, variables, batch())["encoder"]["scale"])) > 0


def test_batch_norm_has_no_parameters_and_remembers_what_it_saw():
  method, data = make(norm="batch"), batch()
  variables = start(method)
  assert set(variables["params"]) == {"encoder", "head"}
  _, seen = method.apply(
    variables, data, train=True, rngs=streams(), mutable=["batch_stats"]
  )
  mean = normalised(data).mean((1, 2)).mean(0)
  np.testing.assert_allclose(
    seen["batch_stats"]["norm"]["mean"], 0.1 * mean, rtol=1e-3, atol=1e-5
  )


def test_the_head_starts_as_small_as_is_asked():
  """120 normal draws: their deviation lies within 30% of the true one."""
  for deviation in (2e-5, 0.01):
    encoder = Vit(patch=4, width=24, depth=1, heads=2)
    head = start(make(encoder, head_deviation=deviation))["params"]["head"]
    assert float(head["kernel"].std()) == pytest.approx(deviation, rel=0.3)
    assert (head["bias"] == 0).all()


def test_layer_decay_counts_as_published():
  """Class token, positions and patches below block 0; norm and head at the top."""
  encoder = Vit(patch=4, width=8, depth=2, heads=2, has_norm=False)
  depths = layer_depths(start(make(encoder))["params"])
  assert depths["head"]["kernel"] == depths["norm"]["scale"] == 0
  blocks = depths["encoder"]["stack"]
  kernels = [blocks[f"block_{i}"]["mlp"]["up"]["kernel"] for i in (0, 1)]
  assert kernels == [2, 1]
  assert depths["encoder"]["patch_embed"]["kernel"] == 3
  assert depths["encoder"]["cls_embedding"] == 3


def test_examples_are_changed_by_their_own_index_in_training():
  data = batch()
  turned = {name: array[::-1] for name, array in data.items()}
  method = make(flip=True, crop_area=(0.3, 1.0), crop_pad=1)
  variables = start(method)

  def prepared(d):
    return ask(method, variables, lambda m: m.prepare(d, train=True))

  np.testing.assert_array_equal(prepared(data), prepared(turned)[::-1])


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"norm": "group"}, r"method.norm = 'group'"),
    ({"trains": "heads"}, "did you mean 'head'"),
    ({"pool": "max"}, "pool = 'max'"),
    ({"pool": "cls"}, "needs a class token"),
    ({"smoothing": 1.5}, "smoothing = 1.5"),
  ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
  keys = {"params": jax.random.key(0), **streams()}
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: make(**settings).init(keys, batch(), train=True))
