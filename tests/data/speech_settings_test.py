import shlex

import pytest

from mdm.data.datasets import read_settings
from mdm.data.speech_settings import SpeechSettings


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"tokens": "character"}, "data.tokens = 'character' is unknown; did you mean 'ch"),
    ({"text": "plain"}, "data.text = 'plain' is unknown; known: words, raw"),
    ({"on_corrupt": "ignore"}, "data.on_corrupt = 'ignore' is unknown"),
    ({"resampler": "sox"}, "did you mean 'soxr'"),
    ({"channels": "left"}, "data.channels = 'left' is unknown; .*mix, refuse"),
    ({"held_out": "texts"}, "data.held_out = 'texts' is unknown; .*speakers, takes"),
    ({"languages": ("en", "de")}, "data.languages = 'de' is unknown; .*known: en, es"),
    ({"languages": ("en", "en")}, "must name each language once"),
    ({"languages": ()}, "must name each language once"),
    ({"max_seconds": 0.0}, "data.max_seconds = 0.0 must be more than 0"),
    ({"budget_seconds": -1.0}, "data.budget_seconds = -1.0 must be more than 0"),
    ({"min_seconds": 0.0}, "data.min_seconds = 0.0 must be more than 0"),
    ({"min_seconds": 2.0, "max_seconds": 1.0}, "no more than data.max_seconds"),
    ({"buckets": (2.0, 1.0)}, "must be lengths in seconds that rise"),
    ({"buckets": (0.0, 1.0)}, "must be lengths in seconds that rise"),
    ({"rate": 0}, "data.rate = 0 and .* must be 1 or more"),
    ({"crop_seconds": 1.0, "tokens": "bytes"}, "takes a part of a clip, to which its"),
    ({"label_share": 0.0}, r"lies outside \(0, 1\]"),
    ({"fold": 6}, "data.fold = 6 is no speaker; write 0 to 5"),
    ({"name": "tfds_speech"}, "data.tfds_name is missing; write a name of tfds.load"),
  ],
)
def test_values_out_of_range_are_refused_with_the_rule(changes, message):
  with pytest.raises(ValueError, match=message):
    read_settings({"name": "spoken_digits", **changes})


def test_a_channel_is_a_word_or_a_number():
  assert read_settings({"name": "speech", "channels": 1}).channels == 1
  assert read_settings({"name": "speech", "channels": "refuse"}).channels == "refuse"


def test_each_data_set_is_split_its_own_way_unless_another_is_asked_for():
  assert SpeechSettings().splits_by() == "speakers"
  assert SpeechSettings(name="speech").splits_by() == "texts"
  assert SpeechSettings(name="speech", held_out="speakers").splits_by() == "speakers"


def test_the_command_builds_this_very_data_set():
  settings = SpeechSettings(
    name="asterisk_prompts", languages=("en", "it"), tokens="characters"
  )
  command = settings.build_command()
  assert command.startswith("mdm data build asterisk_prompts --set ")
  assert shlex.split(command)[-1] == "data.languages=('en', 'it')"
