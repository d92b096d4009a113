"""Published MAE weights under our names, there and back, and what may be wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta
from parity import mae as original

from mdm.interop import mae, mae_config, safetensors
from mdm.methods.image.mae import Mae
from mdm.nn.positions import grid_sincos
from mdm.training import build

FILES = {
  "whole": original.weights(),
  "encoder": original.encoder(),
  "mean": original.classifier("mean"),
  "cls": original.classifier("cls"),
}
SIZES = {"b": (16, 768, 12, 12), "l": (16, 1024, 24, 16), "h": (14, 1280, 32, 16)}
COUNTS = {  # numbers in the original's encoder and in all, its tables included
  "b": (85_798_656, 111_907_840),
  "l": (303_301_632, 329_541_888),
  "h": (630_764_800, 657_074_508),
}


@functools.cache
def own_shapes(scan):
  """Paths and shapes that our MAE itself has."""
  config = original.config(FILES["whole"], scan=scan)
  found = jax.eval_shape(lambda: init(config))
  return {k: v.shape for k, v in safetensors.flatten(found).items()}


def init(config):
  """Parameters that a config's MAE starts from."""
  networks = {
    name: build.build_network(spec, name, jnp.dtype("float32"))
    for name, spec in config["model"].items()
  }
  size, channels = config["data"]["image_size"], config["data"]["channels"]
  batch = {
    "image": jnp.zeros((1, *size, channels), jnp.uint8),
    "index": jnp.zeros(1, jnp.int32),
  }
  keys = {"params": jax.random.key(0), "mask": jax.random.key(1)}
  return meta.unbox(Mae(**networks).init(keys, batch, train=False))["params"]


@pytest.mark.parametrize("scan", [False, True])
def test_imported_weights_are_the_methods_parameters(scan):
  leaves = safetensors.flatten(original.params(FILES["whole"], scan=scan))
  assert {k: v.shape for k, v in leaves.items()} == own_shapes(scan)
  assert {leaf.dtype for leaf in leaves.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("file", ["whole", "encoder"])
def test_exported_again_is_the_same_bit_for_bit(file, scan):
  arrays = FILES[file]
  config = original.config(arrays, scan=scan)
  exported = mae.export_weights(mae.import_weights(arrays, config), config)
  assert exported.keys() == arrays.keys()
  for name, array in exported.items():
    assert array.shape == arrays[name].shape
    assert (array == arrays[name]).all(), name


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_a_classifiers_class_position_moves_into_its_token(pool):
  arrays = FILES[pool]
  config = original.config(arrays)
  norm = {"mean": "layer", "cls": None}[pool]
  settings = {"num_classes": 5, "pool": pool, "norm": norm}
  assert config["method"] == {"name": "image.classify", **settings}
  assert config["model"]["encoder"]["positions"] == "learned"
  params = mae.import_weights(arrays, config)
  again = mae.export_weights(params, config)
  assert again.keys() == arrays.keys()
  for name in arrays.keys() - {"cls_token", "pos_embed"}:
    assert (again[name] == arrays[name]).all(), name
  for table in (arrays, again):
    first = table["cls_token"] + table["pos_embed"][:, :1]
    np.testing.assert_array_equal(first, params["encoder"]["cls_embedding"])
  assert (again["pos_embed"][:, 1:] == arrays["pos_embed"][:, 1:]).all()
  second = mae.export_weights(mae.import_weights(again, config), config)
  assert all((second[name] == array).all() for name, array in again.items())


def test_a_classifier_whose_positions_are_the_table_has_fixed_ones():
  arrays = FILES["mean"] | {"pos_embed": FILES["whole"]["pos_embed"]}
  config = original.config(arrays)
  assert config["model"]["encoder"]["positions"] == "sincos"
  params = mae.import_weights(arrays, config)
  assert "position_embedding" not in params["encoder"]
  assert (params["encoder"]["cls_embedding"] == arrays["cls_token"]).all()


@pytest.mark.parametrize(("rows", "columns", "width"), [(14, 14, 768), (3, 5, 24)])
def test_the_table_is_the_one_that_our_networks_add(rows, columns, width):
  table = mae_config.grid_table(rows, columns, width)
  assert (table[0, 0] == 0).all()
  np.testing.assert_allclose(
    table[0, 1:], grid_sincos(rows, columns, width), rtol=0, atol=1e-6
  )


def published(size):
  """Shapes of a released file with its decoder, without its numbers."""
  patch, width, depth, heads = SIZES[size]
  encoder = {"patch": patch, "width": width, "depth": depth, "heads": heads}
  decoder = {"width": 512, "depth": 8, "heads": 16}
  config = {
    "model": {"encoder": encoder, "decoder": decoder},
    "data": {"image_size": (224, 224), "channels": 3},
  }
  shapes = {w.name: w.stored for w in mae.published_weights(config)}
  n = (224 // patch) ** 2 + 1
  tables = {"pos_embed": (1, n, width), "decoder_pos_embed": (1, n, 512)}
  zero = np.zeros((), np.float32)
  return {k: np.broadcast_to(zero, v) for k, v in (shapes | tables).items()}


@pytest.mark.parametrize("size", SIZES)
def test_published_shapes_stand_for_the_published_models(size):
  config = mae_config.read_config(published(size))
  encoder, decoder = config["model"]["encoder"], config["model"]["decoder"]
  assert [encoder[k] for k in ("patch", "width", "depth", "heads")] == list(SIZES[size])
  assert [decoder[k] for k in ("width", "depth", "heads")] == [512, 8, 16]
  assert config["data"] == {"image_size": (224, 224), "channels": 3}
  config["model"]["encoder"]["scan"] = config["model"]["decoder"]["scan"] = True
  shapes = jax.eval_shape(lambda: init(config))
  counts = {k: sum(x.size for x in jax.tree.leaves(v)) for k, v in shapes.items()}
  arrays = published(size)
  tables = {k: v.size for k, v in arrays.items() if k.endswith("pos_embed")}
  assert counts["encoder"] + tables["pos_embed"] == COUNTS[size][0]
  assert sum(counts.values()) + sum(tables.values()) == COUNTS[size][1]
  assert sum(array.size for array in arrays.values()) == COUNTS[size][1]


def test_a_file_written_is_the_file_read(tmp_path):
  config = original.config(FILES["whole"])
  params = original.params(FILES["whole"])
  mae.save_checkpoint(params, config, tmp_path / "mae.safetensors")
  again, read = mae.load_checkpoint(
    tmp_path / "mae.safetensors", heads=3, decoder_heads=2
  )
  assert again == config
  assert again["method"] == {"name": "image.mae"}
  for name, leaf in safetensors.flatten(read).items():
    assert (leaf == safetensors.flatten(params)[name]).all()


def test_an_encoder_alone_is_refused_where_a_decoder_is_needed(tmp_path):
  safetensors.save_variables(FILES["encoder"], tmp_path / "encoder.safetensors")
  with pytest.raises(ValueError, match=r"encoder.safetensors holds an encoder only"):
    mae.load_checkpoint(
      tmp_path / "encoder.safetensors", original.config(FILES["whole"])
    )
  config, params = mae.load_checkpoint(tmp_path / "encoder.safetensors", heads=3)
  assert set(config["model"]) == set(params) == {"encoder"}
  assert config["method"] == {}


def test_every_wrong_weight_is_listed_at_once():
  config = original.config(FILES["whole"])
  wrong = dict(FILES["whole"])
  del wrong["cls_token"], wrong["blocks.1.attn.qkv.bias"]
  wrong["blocks.0.gamma_1"] = np.zeros(24)
  wrong["decoder_pred.weight"] = np.zeros((16, 48))
  wrong["pos_embed"] = np.zeros((1, 50, 24))
  with pytest.raises(ValueError) as caught:
    mae.import_weights(wrong, config, "mae.safetensors")
  words = str(caught.value)
  assert "missing (2): blocks.1.attn.qkv.bias, cls_token" in words
  assert "unexpected (1): blocks.0.gamma_1" in words
  assert "decoder_pred.weight is [16, 48] there, [48, 16] here" in words
  assert "pos_embed is [1, 50, 24] there, [1, 26, 24] here" in words


def test_a_classifiers_positions_of_another_size_are_told():
  arrays = FILES["mean"]
  wrong = arrays | {"pos_embed": np.zeros((1, 25, 24))}
  with pytest.raises(ValueError, match=r"\[1, 25, 24\] there, \[1, 26, 24\] here"):
    mae.import_weights(wrong, original.config(arrays))


@pytest.mark.parametrize("name", ["pos_embed", "decoder_pos_embed"])
def test_positions_that_are_not_the_table_are_an_error(name):
  arrays = FILES["whole"] | {name: FILES["whole"][name] + np.float32(1e-3)}
  config = original.config(FILES["whole"])
  with pytest.raises(ValueError, match=f"^{name} of weights file .* fixed table"):
    mae.import_weights(arrays, config)


def test_positions_of_a_wide_image_are_compared_with_its_grid():
  config = original.config(FILES["encoder"])
  config["data"]["image_size"] = (12, 28)  # 3 x 7 patches
  with pytest.raises(ValueError, match=r"\[1, 26, 24\] there, \[1, 22, 24\] here"):
    mae.import_weights(FILES["encoder"], config)
  arrays = FILES["encoder"] | {"pos_embed": mae_config.grid_table(3, 7, 24)}
  assert mae_config.read_config(arrays, heads=3, grid=(3, 7))["data"] == config["data"]
  mae.import_weights(arrays, config)


@pytest.mark.parametrize(
  ("arrays", "known", "words"),
  [
    (FILES["whole"], {}, "heads of a width of 24 is not known.*heads="),
    (FILES["whole"], {"heads": 3}, "decoder_heads of a width of 16"),
    (FILES["encoder"], {"heads": 3, "grid": (3, 7)}, "25 patches are no grid of 3 x 7"),
    ({"head.weight": np.zeros((5, 24))}, {}, "pos_embed.*no weights of an MAE"),
    (
      FILES["encoder"] | {"pos_embed": np.zeros((1, 22, 24))},
      {"heads": 3},
      r"21 patches.*pass grid=",
    ),
  ],
)
def test_what_shapes_do_not_tell_is_asked_for(arrays, known, words):
  with pytest.raises(ValueError, match=words):
    mae_config.read_config(arrays, **known)


@pytest.mark.parametrize("suffix", ["pth", "pt", "bin"])
def test_a_file_of_pytorch_is_read_as_well(monkeypatch, suffix):
  read = {f"a/mae.{suffix}": FILES["encoder"]}
  monkeypatch.setattr(mae.torch_file, "read_arrays", lambda path: read[str(path)])
  config, params = mae.load_checkpoint(f"a/mae.{suffix}", heads=3)
  expected = original.params(FILES["encoder"])
  assert config["model"]["encoder"]["heads"] == 3 and "decoder" not in config["model"]
  jax.tree.map(np.testing.assert_array_equal, params, expected)


@pytest.mark.parametrize("scan", [False, True])
def test_parameters_of_another_model_cannot_be_exported(scan):
  params = original.params(FILES["encoder"], scan=scan)
  with pytest.raises(ValueError, match=r"missing.*encoder/stack/block_2"):
    mae.export_weights(params, original.config(FILES["encoder"], scan=scan, depth=3))
  with pytest.raises(ValueError, match=r"missing.*decoder/head/kernel"):
    mae.export_weights(params, original.config(FILES["whole"], scan=scan))
