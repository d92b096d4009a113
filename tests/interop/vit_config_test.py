"""What files of a published ViT mean, and what of them is refused in one sentence."""

import pytest
from parity import vit as original

from mdm.interop import vit_config

CLIP = {"size": {"shortest_edge": 25}, "do_center_crop": True, "crop_size": 20}


def read(model="classifier", processor=None, **changes):
  return vit_config.read_config(original.files(model, processor, **changes))


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


def test_a_processor_is_what_prepares_images():
  config = read(processor={"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]})
  assert config["method"]["mean"] == (0.1, 0.2, 0.3)
  assert config["method"]["deviation"] == (1.0, 2.0, 3.0)
  assert config["data"]["crop"] == "stretch"
  assert read()["method"]["mean"] == (0.5, 0.5, 0.5)
  bare = read(processor={"do_normalize": False, "size": 20})["method"]
  assert (bare["mean"], bare["deviation"]) == ((0.0,), (1.0,))
  middle = read(processor=CLIP)["data"]
  assert (middle["crop"], middle["crop_share"]) == ("center", 0.8)
  grey = read(num_channels=1)
  assert grey["method"]["mean"] == (0.5,) and grey["data"]["channels"] == 1


def test_a_hidden_width_that_no_ratio_gives_is_met_all_the_same():
  assert int(1292 * (7612 / 1292)) != 7612
  spec = read(hidden_size=1292, intermediate_size=7612)["model"]["encoder"]
  assert int(1292 * spec["mlp_ratio"]) == 7612


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
    ({"id2label": {"1": "ant", "2": "bee"}}, "does not number its 2 classes from 0"),
  ],
)
def test_a_config_that_is_not_computed_here_is_refused(changes, answer):
  with pytest.raises(ValueError, match=answer) as error:
    read(**changes)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("processor", "answer"),
  [
    ({"do_resize": False}, "do_resize = False of preprocessor_config.json is not done"),
    ({"rescale_factor": 1.0}, "rescale_factor = 1.0 of preprocessor"),
    ({"image_std": [0.5, 0.5, 0]}, "must be above 0"),
    (
      {"size": 24},
      "makes images of 24 x 24 pixels and config.json has image_size = 20",
    ),
    ({"size": {"height": 20, "width": 24}}, "images of 20 x 24 pixels"),
    (CLIP | {"crop_size": {"height": 24, "width": 24}}, "images of 24 x 24 pixels"),
    (CLIP | {"size": {"shortest_edge": 10}}, "leaves no middle of 20 x 20"),
    ({"size": {"shortest_edge": 20}}, "do_center_crop = False is not done here"),
    ({"size": 20, "do_center_crop": True}, "do_center_crop = True is not done here"),
  ],
)
def test_a_processor_that_does_otherwise_is_refused(processor, answer):
  with pytest.raises(ValueError, match=answer) as error:
    read(processor=processor)
  assert "\n" not in str(error.value)


def test_a_middle_whose_sides_differ_has_no_name_there():
  config = read()
  config["data"] |= {"image_size": (20, 24), "crop": "center", "crop_share": 1.0}
  with pytest.raises(ValueError, match=r"to 20 x 24 pixels has no name"):
    vit_config.write_config(config, "vit")
