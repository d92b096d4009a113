"""Texts as signs and photographs show them: mixed case, numbers, prices, punctuation.

Words are drawn from a list ordered by frequency, half of them uniformly and half with a
preference for the frequent (which are short); the shares of capitals and of digits are
guesses at what stands on signs, shop fronts and posters.
"""

import string
from collections.abc import Callable, Sequence

import numpy as np

_ALPHABET = string.ascii_letters + string.digits
_ENDINGS = (".", ",", "!", "?", ":", "'s", "!!", "...", "-", ";", "*", "%", "+", "/")
_PAIRS = ("()", "''", '""', "[]", "<>", "{}", "**", "--")
_JOINTS = ("-", "&", "/", ".", "'", "_", "+", "@", ":")


def draw_sign(
  rng: np.random.Generator, words: Sequence[str], *, max_len: int = 25
) -> str:
  """One text of 1 to `max_len` printable characters without spaces.

  Args:
    words: lower-case words, the most frequent first.
    max_len: longer texts are cut.
  """
  draw = float(rng.random())
  for share, make in _KINDS:
    if draw < share:
      return make(rng, words)[:max_len]
    draw -= share
  return _word(rng, words)[:max_len]


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
  """A word; half the time one of the more frequent."""
  place = float(rng.random())
  if rng.random() < 0.5:
    place = place**3
  return words[int(place * len(words))]


def _vary_case(rng: np.random.Generator, word: str) -> str:
  """A word in capitals, capitalised, as it is or, rarely, in any mixture."""
  draw = rng.random()
  if draw < 0.45:
    return word.upper()
  if draw < 0.68:
    return word.capitalize()
  if draw < 0.97:
    return word
  upper = rng.random(len(word)) < 0.5
  return "".join(c.upper() if u else c for c, u in zip(word, upper, strict=True))


def _word(rng: np.random.Generator, words: Sequence[str]) -> str:
  """A word, sometimes with what stands around it."""
  text = _vary_case(rng, _pick(rng, words))
  draw = rng.random()
  if draw < 0.07:
    return text + str(rng.choice(_ENDINGS))
  if draw < 0.10:
    around = str(rng.choice(_PAIRS))
    first, last = rng.random(2) < 0.6
    return (around[0] if first else "") + text + (around[1] if last else "")
  if draw < 0.115:
    return text + str(rng.choice(_JOINTS)) + _vary_case(rng, _pick(rng, words))
  return text


def _number(rng: np.random.Generator, words: Sequence[str]) -> str:
  """A number of up to six digits, at times grouped, a year, a time or a phone."""
  del words
  draw = rng.random()
  if draw < 0.12:
    return str(rng.integers(1900, 2030))
  if draw < 0.18:
    return f"{rng.integers(0, 24)}{rng.choice([':', '.'])}{rng.integers(0, 60):02d}"
  length = 1 + int(6 * rng.random() ** 1.5)
  digits = _string(rng, string.digits, length)
  if draw < 0.24 and length > 3:
    return f"{digits[:-3]},{digits[-3:]}"
  return f"{digits[:3]}-{digits[3:]}" if draw < 0.28 and length > 4 else digits


def _price(rng: np.random.Generator, words: Sequence[str]) -> str:
  """An amount with its sign."""
  del words
  amount = str(rng.integers(0, 10 ** int(rng.integers(1, 5))))
  cents = f".{rng.integers(0, 100):02d}" if rng.random() < 0.6 else ""
  draw = rng.random()
  if draw < 0.6:
    return f"${amount}{cents}"
  return f"{amount}%" if draw < 0.8 else f"{amount}{cents}/-"


def _code(rng: np.random.Generator, words: Sequence[str]) -> str:
  """Letters and digits: a road, a plate, a model, an amount with its unit."""
  draw = rng.random()
  if draw < 0.35:
    letters = _string(rng, string.ascii_uppercase, int(rng.integers(1, 4)))
    joint = "-" if rng.random() < 0.25 else ""
    return letters + joint + _string(rng, string.digits, int(rng.integers(1, 5)))
  if draw < 0.6:
    unit = str(rng.choice(["KM", "km", "m", "th", "nd", "st", "rd", "pm", "am", "GB"]))
    return _string(rng, string.digits, int(rng.integers(1, 4))) + unit
  if draw < 0.75:
    return _vary_case(rng, _pick(rng, words)) + str(rng.integers(0, 100))
  return _string(rng, _ALPHABET, int(rng.integers(1, 9)))


def _letters(rng: np.random.Generator, words: Sequence[str]) -> str:
  """Initials or a single letter, at times with dots."""
  del words
  length = 1 + int(4 * rng.random() ** 1.5)
  letters = _string(rng, string.ascii_uppercase, length)
  if rng.random() < 0.15:
    return "".join(f"{c}." for c in letters)
  return letters.lower() if rng.random() < 0.2 else letters


def _address(rng: np.random.Generator, words: Sequence[str]) -> str:
  """A web address or the name of a file."""
  name = "".join(_pick(rng, words) for _ in range(int(rng.integers(1, 3))))
  ending = str(rng.choice([".com", ".org", ".net", ".in", ".co.uk", ".de"]))
  text = ("www." if rng.random() < 0.6 else "") + name + ending
  return text.upper() if rng.random() < 0.15 else text


def _string(rng: np.random.Generator, characters: str, length: int) -> str:
  """A string of independent characters."""
  return "".join(characters[k] for k in rng.integers(0, len(characters), length))


_Maker = Callable[[np.random.Generator, Sequence[str]], str]
_KINDS: tuple[tuple[float, _Maker], ...] = (
  (0.10, _number),
  (0.02, _price),
  (0.05, _code),
  (0.03, _letters),
  (0.015, _address),
)
