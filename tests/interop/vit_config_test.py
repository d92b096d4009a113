"""What files of a published ViT mean, and what of them is refused in one sentence."""

import math

import pytest
from parity import vit as original

from mdm.interop import mae, vit_config

JUNK = (None, "x", -1, 2.5, True, [], {}, [1], {"a": 1}, float("nan"), 10**20)


def read(model="classifier", **changes):
  return vit_config.read_config(original.files(model, **changes))


def test_the_published_defaults_are_vit_base():
  config = vit_config.read_config(
    {
      "config.json": {
        "model_type": "vit_mae",
        "architectures": [vit_config.HEADS["vit_mae"]],
      },
      "preprocessor_config.json": None,
    }
  )
  encoder, decoder = config["model"]["encoder"], config["model"]["decoder"]
  keys = ("width", "depth", "heads", "mlp_ratio")
  assert [encoder[k] for k in keys] == [768, 12, 12, 4.0]
  assert [decoder[k] for k in keys] == [512, 8, 16, 4.0]
  assert config["data"]["image_size"] == (224, 224) and encoder["patch"] == 16
  assert config["method"]["norm_pixels"] is False
  assert config["method"]["mean"][0] == 0.485
  assert encoder["epsilon"] == decoder["epsilon"] == 1e-12


def test_a_hidden_width_that_no_ratio_gives_is_met_all_the_same():
  assert int(1292 * (7612 / 1292)) != 7612
  spec = read(hidden_size=1292, intermediate_size=7612)["model"]["encoder"]
  assert round(1292 * spec["mlp_ratio"]) == 7612


@pytest.mark.parametrize(
  ("changes", "answer"),
  [
    ({"model_type": "deit"}, "model_type = 'deit' is no ViT"),
    (
      {"architectures": ["ViTForMaskedImageModeling"]},
      "'ViTForMaskedImageModeling' is not known here; of vit these are: ViTModel, ViTF",
    ),
    ({"architectures": None}, "architectures = 'nothing'"),
    ({"hidden_act": "gelu_new"}, "hidden_act = 'gelu_new' is not computed here"),
    ({"qkv_bias": False}, "qkv_bias = False is not computed here, only True"),
    ({"patch_size": 6}, "patch_size = 6 does not tile image_size = 20"),
    ({"patch_size": [4, 5]}, r"patch_size = \[4, 5\] does not tile"),
    ({"num_attention_heads": 3}, "num_attention_heads = 3 does not divide"),
    ({"hidden_size": "16"}, "hidden_size = '16' of config.json is no number"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000 of config"),
    ({"image_size": 10**12}, "image_size = 1000000000000 of config.json is no number"),
    ({"layer_norm_eps": "x"}, r"layer_norm_eps = 'x' of config.json lies outside"),
    ({"id2label": {"1": "ant", "2": "bee"}}, "does not number its classes from 0"),
  ],
)
def test_a_config_that_is_not_computed_here_is_refused(changes, answer):
  with pytest.raises(ValueError, match=answer) as error:
    read(**changes)
  assert "\n" not in str(error.value)


def test_base_has_as_many_weights_as_transformers_says():
  counts = []
  for kind, architecture in vit_config.HEADS.items():
    given = {"model_type": kind, "architectures": [architecture], "num_labels": 1000}
    files = {"config.json": given, "preprocessor_config.json": None}
    shapes = mae.stored_shapes(vit_config.read_config(files))
    counts.append(sum(math.prod(x.shape) for x in shapes.values()))
  assert counts == [86_567_656, 111_907_840]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize("model", original.MODELS)
def test_whatever_stands_in_a_config_is_taken_or_refused_in_one_sentence(model, junk):
  names, refused = original.files(model)["config.json"], []
  for name in names:
    try:
      read(model, **{name: junk})
    except ValueError as error:
      refused.append(str(error))
  assert len(refused) >= 8
  for words in refused:
    assert "\n" not in words and any(f"{name} " in words for name in names)
