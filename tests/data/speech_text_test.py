import zlib

import pytest

from mdm.data.speech_text import ALPHABETS, DIGITS, KEYS, split_of, words_of


@pytest.mark.parametrize(
  ("text", "language", "words"),
  [
    ("Press 1 now.", "en", "press one now"),
    ("Audio 3D on", "en", "audio three d on"),
    ("Enter it followed by # or just # to exit", "en",
     "enter it followed by pound or just pound to exit"),
    ("don't, 'ever' — hang-up…", "en", "don't ever hang up"),
    ("Composez l’étoile.", "fr", "composez l'étoile"),
    ("E\u0301coutez", "fr", "écoutez"),
    ("Нажмите 4, чтобы «выйти»", "ru", "нажмите четыре чтобы выйти"),
  ],
)  # fmt: skip
def test_words_are_lower_case_without_punctuation_and_with_digits_spelled_out(
  text, language, words
):
  assert words_of(text, language) == words


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ('IAX (note: does not say "2")', "iax"),
    ("Press pound. (simple tone sound plays).", "press pound"),
    ("equals [=]", "equals"),
    ("space [ ]", "space"),
    ("[!] point", "point"),
  ],
)
def test_remarks_at_the_end_and_signs_in_brackets_are_left_out(text, words):
  assert words_of(text, "en") == words


@pytest.mark.parametrize(
  "text",
  ["", "...", "[ascending tones]", "<beep>", "dial 500", "at 28.8 kilobits",
   "sorry, [that] is wrong", "one / two", "naïve", "нет"],
)  # fmt: skip
def test_a_text_of_which_it_is_uncertain_what_is_said_has_no_words(text):
  assert words_of(text, "en") is None


def test_words_of_words_are_the_same():
  for text, language in (("Press 1: don't!", "en"), ("Está ahí 2", "es")):
    words = words_of(text, language)
    assert words_of(words, language) == words


def test_every_language_spells_its_digits_and_keys_in_its_alphabet():
  for language, alphabet in ALPHABETS.items():
    names = [*DIGITS[language].split(), *KEYS.get(language, {}).values()]
    assert len(DIGITS[language].split()) == 10
    assert all(set(name) <= set(alphabet) for name in names)


def test_the_split_is_the_checksum_modulo_ten():
  texts = [f"text {k}" for k in range(200)]
  for text in texts:
    rest = zlib.crc32(text.encode()) % 10
    wanted = "test" if rest < 2 else "validation" if rest == 2 else "train"
    assert split_of(text) == wanted
  assert {split_of(text) for text in texts} == {"train", "validation", "test"}
