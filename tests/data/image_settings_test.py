import pytest

from mdm.data import datasets
from mdm.data.image_settings import ImageSettings


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"form": "pixels"}, r"data\.form = 'pixels' is unknown; write one of image, tok"),
    ({"crop": "centre"}, r"data\.crop = 'centre'.*center, stretch, random"),
    ({"on_corrupt": "warn"}, r"data\.on_corrupt = 'warn'.*stop, skip"),
    ({"image_size": [32, 0]}, r"data\.image_size = \(32, 0\) must be rows and columns"),
    ({"image_size": 32}, r"data\.image_size = 32 has type int"),
    (
      {"image_size": [32]},
      r"data\.image_size = \[32\] has type list; write tuple\[int, int\]",
    ),
    ({"channels": 4}, r"data\.channels = 4 must be 1 \(grey\) or 3"),
    ({"label_share": 0.0}, r"data\.label_share = 0\.0 lies outside \(0, 1\]"),
    ({"label_share": 5}, r"write 0\.05 for 5%"),
    ({"crop_share": 1.5}, r"data\.crop_share = 1\.5"),
    ({"crop_scale": [0.5, 0.2]}, r"data\.crop_scale = \(0\.5, 0\.2\).*at most 1"),
    ({"crop_ratio": [0.5]}, r"data\.crop_ratio = \[0\.5\] has type list; write tuple"),
    ({"crop": "random", "in_memory": True}, r"in_memory = True keeps one crop"),
    (
      {"randaugment": 11},
      r"data\.randaugment = 11\.0 lies outside \[0, 10\]; published",
    ),
    ({"randaugment_std": -1}, r"data\.randaugment_std = -1\.0 lies outside \[0, 10\]"),
    ({"randaugment_ops": 0}, r"data\.randaugment_ops = 0 must be 1 or more; for no"),
    (
      {"randaugment": 9, "form": "tokens"},
      r"data\.randaugment = 9\.0 changes.*data\.form = 'tokens'; write data\.randaug",
    ),
    ({"name": "tfds"}, r"data\.tfds_name is missing; write a name of tfds\.load"),
    ({"folders": "x"}, r"data\.folders is no setting.*data\.folder\?"),
  ],
)
def test_each_wrong_value_is_refused_by_name_rule_and_remedy(section, message):
  with pytest.raises(ValueError, match=message):
    datasets.read_settings({"name": "cifar10"} | section)


def test_lists_and_whole_numbers_of_a_config_file_are_taken():
  section = {"name": "cifar10", "image_size": [48, 32], "crop_scale": [0.25, 1]}
  settings = datasets.read_settings(section)
  assert settings == ImageSettings(image_size=(48, 32), crop_scale=(0.25, 1.0))
  assert isinstance(settings.crop_scale[1], float)


def test_the_build_command_names_what_shapes_the_files():
  settings = ImageSettings("tfds", tfds_name="cifar100", label_share=0.1)
  command = "mdm data build tfds --set data.tfds_name=cifar100"
  assert settings.build_command() == command
