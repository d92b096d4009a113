import json

import numpy as np
import pytest

from mdm.data.text.characters import Characters, learn_characters, text8
from mdm.data.text.library import train_bpe
from mdm.data.text.tokenizers import (
  Bytes,
  Tokenizer,
  load_tokenizer,
  make_tokenizer,
  save_tokenizer,
)

TEXT = "Größe — naïve café, 東京 😀\n\n\tit's 3.14  twice; two  spaces \n"
KINDS = {
  "characters": lambda: learn_characters([TEXT], has_eos=True),
  "text8": lambda: text8(has_eos=True),
  "bytes": lambda: Bytes(has_eos=True),
  "bpe": lambda: train_bpe([TEXT] * 3, vocab_size=300, has_eos=True),
}


@pytest.fixture(params=KINDS)
def tokenizer(request):
  return KINDS[request.param]()


def test_what_is_encoded_is_decoded_exactly(tokenizer):
  ids = tokenizer.encode(TEXT)
  assert isinstance(tokenizer, Tokenizer)
  assert tokenizer.decode(ids) == tokenizer.normalize(TEXT)
  assert all(type(k) is int and 0 <= k < tokenizer.vocab_size for k in ids)


def test_a_list_and_an_array_hold_the_same_ids(tokenizer):
  found = tokenizer.encode_array(TEXT)
  assert found.dtype == np.int32
  assert found.tolist() == tokenizer.encode(TEXT)
  assert tokenizer.decode(found) == tokenizer.normalize(TEXT)


def test_an_empty_text_has_no_ids(tokenizer):
  assert tokenizer.encode("") == []
  assert len(tokenizer.encode_array("")) == 0
  assert tokenizer.decode([]) == ""


def test_eos_is_an_id_of_the_vocabulary_that_no_text_holds(tokenizer):
  assert 0 <= tokenizer.eos_id < tokenizer.vocab_size
  assert tokenizer.eos_id not in tokenizer.encode(TEXT)
  assert tokenizer.decode([tokenizer.eos_id]) == ""


def test_a_hidden_position_is_shown_as_asked(tokenizer):
  a = tokenizer.encode("a")
  ids = [*a, tokenizer.vocab_size, *a]  # MASK is the id behind the vocabulary
  assert tokenizer.decode(ids) == "a_a"
  assert tokenizer.decode(ids, hidden="?") == "a?a"


def test_a_negative_id_is_refused(tokenizer):
  with pytest.raises(ValueError, match="token id -3 is negative"):
    tokenizer.decode([0, -3])


def test_a_saved_tokenizer_is_loaded_the_same(tokenizer, tmp_path):
  save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
  found = load_tokenizer(tmp_path / "tokenizer.json")
  for name in ("vocab_size", "eos_id", "pad_id"):
    assert getattr(found, name) == getattr(tokenizer, name)
  assert found.encode(TEXT) == tokenizer.encode(TEXT)
  assert found.to_json() == tokenizer.to_json()


def test_without_eos_the_vocabulary_has_one_id_less():
  assert (Bytes().vocab_size, Bytes().eos_id) == (256, None)
  assert (text8().vocab_size, text8(has_eos=True).vocab_size) == (27, 28)


def test_text8_folds_as_the_benchmark_does():
  tokenizer = text8()
  assert tokenizer.normalize("In 1984, X-Ray\n\n(é)") == (
    "in one nine eight four x ray "
  )
  assert tokenizer.encode("a z") == [1, 0, 26]


def test_unknown_characters_are_named_with_the_place_of_the_first():
  tokenizer = Characters("ab ")
  with pytest.raises(ValueError, match=r"\['c', 'é'\], first at position 2; remove"):
    tokenizer.encode("abécab")
  with pytest.raises(ValueError, match=r"and 18 more"):
    tokenizer.encode("abcdefghijklmnopqrstuvwxyz0123")


def test_learned_characters_do_not_depend_on_their_order():
  one, other = learn_characters(["hello", "world"]), learn_characters(["dlrow olleh"])
  assert set(other.characters) - set(one.characters) == {" "}
  assert one.to_json() == learn_characters(["world", "hello"]).to_json()
  with pytest.raises(ValueError, match="without text"):
    learn_characters([""])


def test_bytes_that_are_no_text_are_shown_as_such():
  assert Bytes().decode([104, 105, 255]) == "hi\ufffd"


def test_training_a_bpe_twice_gives_the_same_merges():
  one, other = (train_bpe([TEXT] * 3, vocab_size=280) for _ in range(2))
  assert one.to_json() == other.to_json()
  assert len(one.encode("café")) < len("café".encode())
  with pytest.raises(ValueError, match=r"data\.vocab_size = 200 is below the 256"):
    train_bpe([TEXT], vocab_size=200)


def word_piece(tmp_path):
  """A file as BERT's, which asks for truncation, padding and special tokens."""
  from tokenizers import Tokenizer as Library
  from tokenizers import models, normalizers, pre_tokenizers, processors

  names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "sun", "##ny", "day"]
  inner = Library(
    models.WordPiece({n: k for k, n in enumerate(names)}, unk_token="[UNK]")
  )
  inner.normalizer = normalizers.Lowercase()
  inner.pre_tokenizer = pre_tokenizers.Whitespace()
  inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
  inner.enable_truncation(4)
  inner.enable_padding(length=4)
  inner.save(str(tmp_path / "tokenizer.json"))
  return tmp_path / "tokenizer.json"


def test_a_library_file_is_neither_cut_nor_padded_nor_framed(tmp_path):
  tokenizer = load_tokenizer(word_piece(tmp_path))
  assert tokenizer.encode("Sunny day sun day sun day") == [5, 6, 7, 5, 7, 5, 7]
  assert (tokenizer.vocab_size, tokenizer.eos_id, tokenizer.pad_id) == (8, 3, 0)
  assert tokenizer.decode([7, 3, 0, 0]) == "day"


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("{", "cannot be read as a tokenizer"),
    ("[1]", "cannot be read as a tokenizer"),
    ("{}", "is no tokenizer"),
    ('{"kind": "characters", "characters": "aa", "folding": "", "eos": true}', "once"),
    ('{"kind": "characters"}', "cannot be read"),
    ('{"model": {"type": "none"}}', "library refuses it"),
  ],
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path, content, message):
  path = tmp_path / "tokenizer.json"
  path.write_text(content)
  with pytest.raises(ValueError, match=message) as error:
    load_tokenizer(path)
  assert str(path) in str(error.value)


def test_a_name_that_is_none_lists_the_known():
  with pytest.raises(ValueError, match="'chars' is neither one of text8, characters"):
    make_tokenizer("chars", list, vocab_size=300, has_eos=False)


def test_a_file_without_an_end_is_refused_where_an_end_is_needed(tmp_path):
  path = tmp_path / "t.json"
  path.write_text(json.dumps(Bytes().to_json()))
  assert make_tokenizer(str(path), list, vocab_size=0, has_eos=False).vocab_size == 256
  with pytest.raises(ValueError, match="no id that ends a text"):
    make_tokenizer(str(path), list, vocab_size=0, has_eos=True)
