"""The keys of `config.data` for speech: recordings with transcripts or classes."""

import dataclasses
import difflib
import math
from collections.abc import Sequence
from typing import ClassVar

from mdm.data.audio import RESAMPLERS
from mdm.data.noise import KINDS
from mdm.data.settings import DataSettings
from mdm.data.speech_text import ALPHABETS

TOKENS = ("none", "characters", "bytes", "wordpiece", "bpe")
HELD_OUT = {
  "spoken_digits": ("speakers", "takes"),
  "asterisk_prompts": ("texts",),
  "speech": ("texts", "speakers"),
  "tfds_speech": ("texts",),
}  # what a data set can be split by; the first is its own
CODINGS = ("wav", "g722")  # of the prompts
OWN_RATES = {"spoken_digits": 8_000, "asterisk_prompts": 8_000}
RATE = 16_000  # of most recordings of speech
FOLDS = 6  # speakers of the spoken digits


@dataclasses.dataclass(frozen=True)
class SpeechSettings(DataSettings):
  """Which recordings, in which form.

  Attributes:
    name: "spoken_digits", "asterisk_prompts", "speech" (the user's own) or
      "tfds_speech".
    manual_dir: for spoken_digits, the folder with free_spoken_digits.tar.xz or its
      contents; for asterisk_prompts, one with Debian's packages, or with what they
      install (None for /usr/share).
    path: for speech, a folder of audio with a .txt beside each file, or a manifest
      (.tsv or .jsonl) that names files and texts.
    tfds_name: for tfds_speech, a name as `tfds.load` takes it, as librispeech.
    train_split: for tfds_speech, what "train" reads, as train_clean100; None for all
      splits that begin with "train".
    languages: of the prompts that are used, and of the alphabet.
    coding: of the prompts, "wav" (8 kHz, through a telephone's filter) or "g722" (the
      same clips at 16 kHz).
    held_out: what no two splits share: "texts", "speakers" or (digits) "takes"; None
      for the data set's own.
    fold: for spoken_digits, which of the 6 speakers is the test split, from 0 in the
      order of their names; the next one is the validation split.
    rate: samples per second; None for the data set's own.
    resampler: "soxr" or "polyphase", where files have another rate; None refuses them.
    channels: of several channels "mix" takes the mean, a number that one, and "refuse"
      stops.
    min_seconds: shorter clips are left out as corrupt.
    max_seconds: longer clips are left out; None for none.
    crop_seconds: in training a random part so long of longer clips, which begins at a
      multiple of 40 ms; None for whole clips.
    buckets: lengths in seconds that clips are padded to; longer ones are padded to the
      longest clip. Empty for one length.
    budget_seconds: a batch of a bucket of s seconds has train.batch times
      floor(budget_seconds / s) rows, and at least train.batch; None for train.batch.
    tokens: "none", "characters" (of the languages), "bytes", "wordpiece" or "bpe"
      (learned from the training texts), or the path of a tokenizer.json.
    vocab_size: of a tokenizer that is learned.
    text: "words" (lower-case words alone, digits spelled out), or "raw" as written.
    frame_seconds: of an encoder's frame.
    on_infeasible: "stop" at a training clip with fewer such frames than CTC needs for
      its tokens, or "skip" it, named and counted.
    label_share: share of the training clips that are used, the same of each class and
      language; smaller shares are subsets of larger ones.
    label_seed: of which ones.
    confidences: an .npz with a recogniser's confidence in each 40 ms of each training
      clip, as `mdm score RUN --split train --out FILE` writes it; see confidences.py.
    noise_share: share of clips that are spoiled on purpose, of training and evaluation
      alike: drawn anew at each place of the training stream, by the clip elsewhere.
    noise_kinds: in which ways, drawn alike: "noise" over the speech, or "tones" or
      "silence" in its place.
    noise_db: decibels by which speech is louder than the noise over it.
    on_corrupt: "stop" at a clip that is corrupt or useless, or "skip" it, named and
      counted.
    in_memory: decode once and keep; None decides by size.
  """

  BUILD_KEYS: ClassVar[tuple[str, ...]] = (
    "manual_dir", "path", "tfds_name", "languages", "coding", "held_out", "fold",
  )  # fmt: skip

  name: str = "spoken_digits"
  manual_dir: str | None = None
  path: str | None = None
  tfds_name: str | None = None
  train_split: str | None = None
  languages: tuple[str, ...] = ("en",)
  coding: str = "wav"
  held_out: str | None = None
  fold: int = 0
  rate: int | None = None
  resampler: str | None = None
  channels: str | int = "mix"
  min_seconds: float = 0.1
  max_seconds: float | None = None
  crop_seconds: float | None = None
  buckets: tuple[float, ...] = (
    1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0
  )  # fmt: skip
  budget_seconds: float | None = None
  tokens: str = "none"
  vocab_size: int = 1_024
  text: str = "words"
  frame_seconds: float = 0.04
  on_infeasible: str = "skip"
  label_share: float = 1.0
  label_seed: int = 0
  confidences: str | None = None
  noise_share: float = 0.0
  noise_kinds: tuple[str, ...] = KINDS
  noise_db: float = -5.0
  on_corrupt: str = "stop"
  in_memory: bool | None = None

  def __post_init__(self) -> None:
    """Raises ValueError for values out of range."""
    self._check_words()
    self._check_lengths()
    if not 0 < self.label_share <= 1:
      raise ValueError(
        f"data.label_share = {self.label_share} lies outside (0, 1]; write 0.05 for 5%."
      )
    if not 0 <= self.noise_share <= 1:
      raise ValueError(
        f"data.noise_share = {self.noise_share} lies outside [0, 1]; write 0.5 for "
        "half of the clips."
      )
    if not 0 <= self.fold < FOLDS:
      raise ValueError(
        f"data.fold = {self.fold} is no speaker; write 0 to {FOLDS - 1}."
      )
    if self.name == "tfds_speech" and not self.tfds_name:
      raise ValueError(
        "data.tfds_name is missing; write a name of tfds.load, as librispeech."
      )

  def example_shapes(self) -> dict[str, tuple[int, ...]]:
    """See the base class; transcripts have as many tokens as there are frames.

    Recordings of one's own and published ones are taken to have 16,000 samples per
    second where `rate` is None.
    """
    own = OWN_RATES.get(self.name, RATE) if self.coding == "wav" else RATE
    rate = self.rate or own
    longest = self.crop_seconds or self.max_seconds or max(self.buckets, default=30.0)
    shapes: dict[str, tuple[int, ...]] = {
      "audio": (math.ceil(longest * rate),),
      "audio_length": (),
    }
    frames = math.ceil(longest / self.frame_seconds)
    if self.tokens != "none":
      shapes |= {"tokens": (frames,), "valid": (frames,)}
    if self.confidences is not None:
      shapes["confidence"] = (frames + 1,)
    return shapes | ({"label": ()} if self.name == "spoken_digits" else {})

  def splits_by(self) -> str:
    """What no two splits share: "texts", "speakers" or "takes"."""
    return self.held_out or HELD_OUT[self.name][0]

  def _check_words(self) -> None:
    """Raises ValueError for a word that is not among those known."""
    known: dict[str, Sequence[str | None]] = {
      "text": ("words", "raw"),
      "coding": CODINGS,
      "on_corrupt": ("stop", "skip"),
      "on_infeasible": ("stop", "skip"),
      "resampler": (None, *RESAMPLERS),
      "held_out": (None, *HELD_OUT.get(self.name, ())),
    }
    if isinstance(self.channels, str):
      known["channels"] = ("mix", "refuse")
    if not self.tokens.endswith(".json"):
      known["tokens"] = TOKENS
    for key, choices in known.items():
      _check_choice(key, getattr(self, key), choices)
    if not self.noise_kinds:
      raise ValueError("data.noise_kinds is empty; write some, as ('noise',).")
    for kind in self.noise_kinds:
      _check_choice("noise_kinds", kind, KINDS)
    if not self.languages or len(set(self.languages)) < len(self.languages):
      raise ValueError(
        f"data.languages = {self.languages} must name each language once, as ('en',)."
      )
    for language in self.languages:
      _check_choice("languages", language, tuple(ALPHABETS))

  def _check_lengths(self) -> None:
    """Raises ValueError for lengths that are none, or a part that keeps its text."""
    for key in ("max_seconds", "crop_seconds", "budget_seconds", "frame_seconds"):
      value = getattr(self, key)
      if value is not None and not value > 0:
        raise ValueError(f"data.{key} = {value} must be more than 0 seconds.")
    least = min(self.crop_seconds or 1e9, self.max_seconds or 1e9)
    if not 0 < self.min_seconds <= least:
      raise ValueError(
        f"data.min_seconds = {self.min_seconds} must be more than 0 and no more than "
        "data.max_seconds and data.crop_seconds."
      )
    if list(self.buckets) != sorted({b for b in self.buckets if b > 0}):
      raise ValueError(
        f"data.buckets = {self.buckets} must be lengths in seconds that rise, as "
        "(1, 2, 4)."
      )
    if min(1 if self.rate is None else self.rate, self.vocab_size) < 1:
      raise ValueError(
        f"data.rate = {self.rate} and data.vocab_size = {self.vocab_size} must be 1 or "
        "more."
      )
    if self.crop_seconds and self.tokens != "none":
      raise ValueError(
        "data.crop_seconds takes a part of a clip, to which its whole transcript does "
        f"not belong; write data.tokens=none (it is {self.tokens!r}) or leave it out."
      )


def _check_choice(key: str, value: str | None, choices: Sequence[str | None]) -> None:
  """Raises ValueError for a value that is not among those known."""
  if value in choices:
    return
  words = [word for word in choices if word is not None]
  near = difflib.get_close_matches(str(value), words, n=1)
  hint = f"did you mean {near[0]!r}? Known" if near else "known"
  raise ValueError(f"data.{key} = {value!r} is unknown; {hint}: {', '.join(words)}.")
