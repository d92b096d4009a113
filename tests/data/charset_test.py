import numpy as np
import pytest

from mdm.data.charset import EOS, Charset


def test_ids_are_eos_characters_mask_pad():
  charset = Charset("printable")
  assert charset.num_characters == 94
  assert (charset.eos_id, charset.mask_id, charset.pad_id) == (0, 95, 96)
  tokens, _ = charset.encode(charset.characters[:25], 26)
  assert tokens.tolist() == [*range(1, 26), EOS]


def test_decode_inverts_encode_for_every_printable_character():
  charset = Charset("printable")
  for k in range(0, 94, 20):
    text = charset.characters[k : k + 20]
    assert charset.decode(charset.encode(text, 26)[0]) == text


def test_valid_covers_characters_and_eos_and_the_rest_is_pad():
  charset = Charset("alnum")
  tokens, valid = charset.encode("word", 8)
  assert valid.tolist() == [True] * 5 + [False] * 3
  assert tokens.dtype == np.int32
  assert (tokens[5:] == charset.pad_id).all()
  assert tokens[4] == EOS


def test_alnum_folds_case_and_drops_the_unknown():
  charset = Charset("alnum")
  assert charset.decode(charset.encode("It's-42", 26)[0]) == "its42"


def test_text_longer_than_the_canvas_is_refused_with_value_rule_and_remedy():
  with pytest.raises(ValueError, match=r"'abcdef' has 6 characters.*canvas of 6.*set"):
    Charset("alnum").encode("abcdef", 6)


def test_text_without_a_known_character_is_refused():
  with pytest.raises(ValueError, match="no character of charset 'alnum'"):
    Charset("alnum").encode("?! ", 26)
  assert not Charset("alnum").fits("?! ", 26)


def test_decode_stops_at_the_first_eos_and_skips_mask_and_pad():
  charset = Charset("alnum")
  assert charset.decode([11, charset.mask_id, 12, charset.pad_id, EOS, 13]) == "ab"


def test_dictionary_file_gives_the_characters_in_order(tmp_path):
  path = tmp_path / "chars.txt"
  path.write_text("ж\na\n字\n", "utf-8")
  charset = Charset(str(path))
  assert charset.encode("字ж", 4)[0].tolist() == [3, 1, EOS, charset.pad_id]


@pytest.mark.parametrize("content", ["a\nbc\n", "a\nb\na\n", ""])
def test_a_wrong_dictionary_is_refused_by_name(tmp_path, content):
  path = tmp_path / "wrong.txt"
  path.write_text(content)
  with pytest.raises(ValueError, match=r"wrong\.txt"):
    Charset(str(path))


def test_unknown_charset_lists_the_known():
  with pytest.raises(ValueError, match=r"alnum.*printable"):
    Charset("latin")
