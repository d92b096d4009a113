"""Transcripts of a split: forms of texts, numbers, every clip once in its place."""

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.data import datasets
from mdm.data.text.characters import Characters
from mdm.decoding.prefixes import Transcript
from mdm.evaluation import transcripts
from mdm.evaluation.transcripts import Transcripts, score_transcripts
from mdm.methods.base import Method

TEXTS = ("zero", "one", "two three", "four", "a b c d", "five", "six")


class Clips:
  """Sounds whose samples are their letters; two lengths, so two shapes."""

  is_in_memory = True

  def __init__(self, split="validation", **data):
    del data
    self.texts = [text.replace("e", "o") if split == "test" else text for text in TEXTS]
    self.tokenizer = Characters(" abcdefghijklmnopqrstuvwxyz")
    self.shapes = np.array([[8 if len(t) > 5 else 5, 0] for t in self.texts])
    self.shapes[self.shapes[:, 0] == 8, 0] = 9

  def __len__(self):
    return len(self.texts)

  def facts(self):
    return {}

  def describe(self):
    return {}

  def record(self, index):
    return {"text": self.texts[index]}

  def draw(self, indices, places, seed):
    raise NotImplementedError

  def text(self, index):
    return self.texts[index]

  def fetch(self, indices):
    size = int(self.shapes[indices[0], 0])
    audio = np.zeros((len(indices), size), np.float32)
    ids = [self.tokenizer.encode(self.texts[k]) for k in indices]
    for row, tokens in zip(audio, ids, strict=True):
      row[: len(tokens)] = tokens
    return {"audio": audio, "audio_length": np.array([len(k) for k in ids], np.int32)}


class Listener(Method):
  """Hears each letter, and `wrong` for the second one of every text."""

  wrong: str = ""

  def __call__(self, batch, *, train):
    raise NotImplementedError

  def transcribe(self, batch, *, decoder, beam, bonus):
    assert decoder == "beam" and beam == 3
    if bonus is not None:  # says what most often begins a text, whatever it hears
      start = bonus(jnp.zeros((1, 1, 1), int), jnp.zeros((1, 1), int))[0, 0]
      batch = batch | {"audio": jnp.full(batch["audio"].shape, start.argmax())}
    tokens = jnp.asarray(batch["audio"]).astype(jnp.int32)
    place = jnp.arange(tokens.shape[1])
    if self.wrong:
      tokens = jnp.where(place == 1, ord(self.wrong) - ord("a") + 1, tokens)
    valid = place < batch["audio_length"][:, None]
    return Transcript(tokens, valid, tokens, jnp.zeros(len(tokens)))


@pytest.fixture(autouse=True)
def _clips(monkeypatch):
  monkeypatch.setattr(datasets, "load", lambda data, split: Clips(split, **data))


def measure(method, **settings):
  settings = {"decoder": "beam", "beam": 3, "resamples": 50, **settings}
  return Transcripts(**settings).build(method, {})({})


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_what_is_heard_right_has_no_errors_whatever_the_batch(batch):
  found = measure(Listener(), batch=batch)
  assert found["wer"] == found["cer"] == found["sentence_errors"] == 0
  assert found["count"] == 7 and found["words"] == 11


def test_errors_are_counted_against_the_clip_they_belong_to():
  found = measure(Listener(wrong="x"), batch=2)
  wanted = score_transcripts([t[:1] + "x" + t[2:] for t in TEXTS], TEXTS, resamples=50)
  assert found == wanted
  assert found["cer"] == pytest.approx(7 / sum(map(len, TEXTS)))
  assert found["long_wer"] == 0.5  # "a b c d" became "axb c d"


def test_a_split_and_a_limit_are_heard_alone():
  assert measure(Listener(), split="test", limit=3)["count"] == 3


def test_a_search_may_listen_to_n_grams_of_the_training_texts():
  found = measure(Listener(), ngrams=2, token_gain=9.0)
  heard = ["f" * len(text) for text in TEXTS]  # "four" and "five" begin so
  assert found["cer"] == score_transcripts(heard, TEXTS)["cer"]
  with pytest.raises(ValueError, match="ngrams = 2 needs a search"):
    measure(Listener(), ngrams=2, decoder="greedy")


def test_a_method_must_write_down_speech():
  with pytest.raises(ValueError, match="cannot write down speech"):
    measure(Method())


def test_an_unknown_form_or_a_missing_text_is_named():
  with pytest.raises(ValueError, match="did you mean 'words'"):
    measure(Listener(), normalizer="word")
  with pytest.raises(ValueError, match="1 hypotheses for 2 references"):
    score_transcripts(["a"], ["a", "b"])


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("Don't  STOP, now!", "don't stop now"),
    ("'tis the dogs' 3rd", "tis the dogs 3rd"),
    ("Größe — naïve_ok", "grösse naïve ok"),
    ("it’s", "it's"),
    ("...", ""),
  ],
)
def test_words_are_lower_case_letters_digits_and_inner_apostrophes(text, words):
  assert transcripts.normalize_words(text) == words


def test_the_form_decides_what_is_an_error():
  pair = (["Stop now"], ["stop, now"])
  assert score_transcripts(*pair)["wer"] == 0
  assert score_transcripts(*pair, normalizer="none")["wer"] == 0.5


def test_numbers_are_shares_of_the_references_words():
  found = score_transcripts(["a x", "b c d", "e"], ["a b", "b d", "e f g"])
  assert [found[k] for k in ("substitutions", "deletions", "insertions")] == [
    pytest.approx(share) for share in (1 / 7, 2 / 7, 1 / 7)
  ]
  assert found["wer"] == pytest.approx(4 / 7) and found["sentence_errors"] == 1
  assert found["wer_low"] <= found["wer"] <= found["wer_high"]


def test_a_report_says_how_texts_were_compared():
  line = transcripts.report(score_transcripts(["a x"], ["a b"]), normalizer="words")
  assert line.startswith(
    "WER 50.0% [50.0, 50.0] (50.0 sub, 0.0 del, 0.0 ins), CER 33.3%"
  )
  assert "2 words in 1 clips" in line and line.endswith("by single spaces")
