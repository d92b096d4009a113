import pytest

from mdm.data.settings import RENDER_KEYS, WordSettings, read_section


def test_lists_of_a_config_file_are_taken_as_tuples():
  assert read_section(WordSettings, {"image_size": [48, 144]}).image_size == (48, 144)


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"num_trian": 5}, r"data\.num_trian is no setting.*data\.num_train\?"),
    ({"xyz": 5}, r"known: name, data_dir"),
    ({"num_train": "many"}, r"data\.num_train = 'many' has type str; write int"),
    ({"seed": True}, r"data\.seed = True has type bool"),
    ({"data_dir": 3}, r"data\.data_dir = 3 has type int; write str \| None"),
    ({"image_size": [32]}, r"rows and columns"),
    ({"canvas": 1}, r"data\.canvas = 1"),
    ({"augment": 2.0}, r"data\.augment = 2\.0"),
    ({"randaugment": 11}, r"data\.randaugment = 11\.0"),
    ({"randaugment_ops": 0}, r"data\.randaugment_ops = 0"),
    ({"num_test": 0}, r"data\.num_test = 0"),
    ({"max_len": 26}, r"data\.max_len = 26 exceeds the 25"),
    ({"strength": 70}, r"data\.strength = 70"),
  ],
)
def test_each_wrong_value_is_refused_by_name_rule_and_remedy(section, message):
  with pytest.raises(ValueError, match=message):
    read_section(WordSettings, section)


def test_every_key_that_shapes_images_changes_the_folder():
  other = {
    "image_size": (48, 96), "channels": 3, "strength": 0.5, "case": "mixed",
    "num_train": 7, "num_test": 7, "min_len": 4, "max_len": 7, "num_words": 7,
    "fonts_dir": "x", "system_fonts": True, "seed": 1, "style": "scene",
    "texts": "signs", "photos_dir": "x",
  }  # fmt: skip
  assert set(other) == set(RENDER_KEYS)
  names = {WordSettings(**{key: value}).render_name() for key, value in other.items()}
  assert len(names | {WordSettings().render_name()}) == len(RENDER_KEYS) + 1


def test_keys_that_only_read_leave_the_folder():
  read = WordSettings(canvas=20, augment=0.5, charset="printable", data_dir="x")
  assert read.render_name() == WordSettings().render_name()


def test_data_are_built_where_the_environment_says(monkeypatch, tmp_path):
  monkeypatch.setenv("MDM_DATA_HOME", str(tmp_path))
  assert WordSettings().home() == tmp_path
  assert str(WordSettings(data_dir="/x").home()) == "/x"
  monkeypatch.delenv("MDM_DATA_HOME")
  assert WordSettings().home().parts[-3:] == (".cache", "mdm", "data")


def test_build_command_names_every_key_that_shapes_the_data():
  settings = WordSettings(
    num_train=7, image_size=(16, 48), data_dir="/a b", augment=0.5, canvas=13
  )
  assert settings.build_command() == (
    "mdm data build rendered_words --set 'data.data_dir=/a b' "
    "--set 'data.image_size=(16, 48)' --set data.num_train=7"
  )
  assert WordSettings().build_command() == "mdm data build rendered_words"
