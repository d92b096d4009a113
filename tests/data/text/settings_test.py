import dataclasses

import pytest

from mdm.data import datasets
from mdm.data.text.settings import PairSettings, TextSettings


@pytest.mark.parametrize(
  ("section", "message"),
  [
    ({"name": "kjv", "lenght": 5}, r"data\.lenght is no setting.*data\.length\?"),
    ({"name": "kjv", "canvas": 5}, r"data\.canvas is no setting"),
    ({"name": "kjv", "length": 0}, r"data\.length = 0 must be 1 or more"),
    ({"name": "kjv", "length": "x"}, r"data\.length = 'x' has type str; write int"),
    (
      {"name": "kjv", "held_out": 10.0},
      r"data\.held_out = 10\.0 lies outside \(0, 1\)",
    ),
    ({"name": "kjv", "tokenizer": "tex8"}, r"'tex8' is unknown; did you mean text8\?"),
    ({"name": "kjv", "vocab_size": 0}, r"data\.vocab_size = 0"),
    ({"name": "kjv", "split": "books"}, r"data\.split = 'books' is unknown; .*ends"),
    ({"name": "text_corpora", "corpus": "ptb"}, r"data\.corpus = 'ptb' is unknown"),
    ({"name": "pairs", "eos": True}, r"data\.eos is no setting"),
    ({"name": "cifar10", "length": 3}, r"known: name, data_dir, manual_dir"),
    ({"name": "rendered_words", "length": 3}, r"data\.length is no setting"),
  ],
)
def test_each_family_refuses_what_it_does_not_know(section, message):
  with pytest.raises(ValueError, match=message):
    datasets.read_settings(section)


@pytest.mark.parametrize("kind", [TextSettings, PairSettings])
def test_a_key_that_shapes_the_files_changes_the_folder_and_no_other_does(kind):
  other = {
    "tokenizer": "bytes", "vocab_size": 300, "path": "/x", "held_out": 0.3, "seed": 1,
    "corpus": "wikitext2", "split": "ends", "eos": True, "length": 9,
    "manual_dir": "/y", "fills_with_eos": False,
  }  # fmt: skip
  known = {f.name for f in dataclasses.fields(kind)}
  for key in known & set(other):
    shapes = key in kind.BUILD_KEYS and key != "manual_dir"
    changed = kind(data_dir="/d", **{key: other[key]})
    assert (changed.folder() != kind(data_dir="/d").folder()) == shapes, key


def test_the_build_command_names_what_shapes_the_files():
  settings = TextSettings(tokenizer="text8", length=64, manual_dir="/a b")
  assert settings.build_command(force=True) == (
    "mdm data build kjv --force --set data.tokenizer=text8 --set 'data.manual_dir=/a b'"
  )
