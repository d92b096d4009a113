"""Transcripts as words: what was said, in the letters of a language.

  raw     "Press 1 now. (note: loud)"
  words   "press one now"

Lower case, punctuation and hyphens a space, an apostrophe kept within a word, digits
and the names of keys spelled out. A text from which it is not certain what was said has
no words: one with a number of several digits, with a remark in its middle, with other
symbols, or with letters of another language.
"""

import re
import unicodedata
import zlib

_LATIN = "abcdefghijklmnopqrstuvwxyz"
ALPHABETS = {
  "en": _LATIN + "'",
  "es": _LATIN + "áéíñóúü",
  "fr": _LATIN + "'àâæçèéêëîïôùûüœ",
  "it": _LATIN + "'àèéìòù",
  "ru": "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
}  # letters and apostrophes of words
DIGITS = {
  "en": "zero one two three four five six seven eight nine",
  "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
  "fr": "zéro un deux trois quatre cinq six sept huit neuf",
  "it": "zero uno due tre quattro cinque sei sette otto nove",
  "ru": "ноль один два три четыре пять шесть семь восемь девять",
}
KEYS = {
  "en": {"*": "star", "#": "pound"},
  "fr": {"*": "étoile", "#": "dièse"},
}  # of a telephone, as the prompts of a language say them
PUNCTUATION = re.compile(r"[\s.,:;!?¿¡…\"“”„«»‘–—-]+")
REMARK = re.compile(r"(?:\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>)[\s.]*$")  # at the end
SIGN = re.compile(r"[\[(<][^\w\[\]()<>]*[\])>]")  # "[@]": a remark without a word


def words_of(text: str, language: str) -> str | None:
  """The words of a transcript, parted by single spaces; None where it is uncertain.

  A remark in brackets at the end is left out, and one without a word anywhere.

  Args:
    language: a key of `ALPHABETS`.
  """
  text = unicodedata.normalize("NFC", text).lower().replace("’", "'").strip()
  text = SIGN.sub(" ", text).strip()
  text = REMARK.sub(" ", text)
  digits = DIGITS[language].split()
  text = re.sub(
    r"\d+", lambda m: f" {digits[int(m[0])]} " if len(m[0]) == 1 else m[0], text
  )
  for key, name in KEYS.get(language, {}).items():
    text = text.replace(key, f" {name} ")
  words = [word.strip("'") for word in PUNCTUATION.sub(" ", text).split()]
  found = " ".join(word for word in words if word)
  return found if found and set(found) <= set(ALPHABETS[language]) | {" "} else None


def split_of(text: str) -> str:
  """The split of a text: by its CRC-32 modulo 10, 0 and 1 are test, 2 validation."""
  rest = zlib.crc32(text.encode()) % 10
  return "test" if rest < 2 else "validation" if rest == 2 else "train"
