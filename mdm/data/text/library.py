"""Tokenizers of the `tokenizers` library: any `tokenizer.json`, BPE or WordPiece.

A file is taken as it is but for truncation and padding, which it may ask for and which
would cut a corpus short, and for the special tokens of its template: the data set sets
the ends itself. A special token that is spelled out in a text ("<|endoftext|>") is that
token, as everywhere in the library. V is the largest id plus one, so that a file with
gaps stays valid.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from mdm.data.text.ids import plain_ids

EOS_NAMES = ("<|endoftext|>", "</s>", "<eos>", "[EOS]", "<|end_of_text|>", "[SEP]")
UNKNOWN = "[UNK]"
PAD_NAMES = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>")


class LibraryTokenizer:
  """A tokenizer file's content behind the package's interface."""

  def __init__(self, content: Mapping[str, Any]) -> None:
    self._content = dict(content) | {"truncation": None, "padding": None}
    library = _library()
    try:
      self._inner = library.Tokenizer.from_str(json.dumps(self._content))
    except Exception as error:  # the library raises nothing more precise
      raise ValueError(f"the library refuses it: {error}") from error
    ids = self._inner.get_vocab(with_added_tokens=True)
    if not ids:
      raise ValueError("its vocabulary is empty")
    self.vocab_size = max(ids.values()) + 1
    self.eos_id = _first(ids, EOS_NAMES)
    self.pad_id = _first(ids, PAD_NAMES)

  def normalize(self, text: str) -> str:
    """The text itself; what a file folds (BERT's lower case) it folds unseen."""
    return text

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without EOS; what the file does not know is its unknown token."""
    return self.encode_many([text])[0].tolist()

  def encode_array(self, text: str) -> Int32[np.ndarray, "n"]:
    """The same as an array."""
    return self.encode_many([text])[0]

  def encode_many(self, texts: Sequence[str]) -> list[np.ndarray]:
    """The arrays of several texts, on all cores."""
    found = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.asarray(encoding.ids, np.int32) for encoding in found]

  def encode_sentences(self, texts: Sequence[str], length: int) -> list[np.ndarray]:
    """Ids of texts with the special tokens of the file's template, cut to `length`."""
    self._inner.enable_truncation(length)
    try:
      found = self._inner.encode_batch_fast(list(texts), add_special_tokens=True)
    finally:
      self._inner.no_truncation()
    return [np.asarray(encoding.ids, np.int32) for encoding in found]

  def decode(self, ids: Sequence[int] | np.ndarray, *, hidden: str = "_") -> str:
    """The text of ids; EOS and PAD give nothing, ids V and up give `hidden` each."""
    silent = (self.eos_id, self.pad_id)
    parts: list[str] = []
    run: list[int] = []
    for k in plain_ids(ids):
      if k < self.vocab_size and k not in silent:
        run.append(k)
      elif k >= self.vocab_size:
        parts += [self._decode(run), hidden]
        run = []
    return "".join([*parts, self._decode(run)])

  def to_json(self) -> dict[str, Any]:
    """What `load_tokenizer` reads."""
    return {"kind": "library", "file": self._content}

  def _decode(self, ids: list[int]) -> str:
    return self._inner.decode(ids, skip_special_tokens=False) if ids else ""


def train_bpe(
  texts: Iterable[str], *, vocab_size: int, has_eos: bool = False
) -> LibraryTokenizer:
  """A byte-level BPE of a corpus: exact round trips, no unknown character.

  Raises:
    ValueError: fewer ids than the 256 bytes (and EOS) need.

  Source: Language Models are Unsupervised Multitask Learners, 2019, section 2.2.
  """
  if vocab_size < 256 + has_eos:
    raise ValueError(
      f"data.vocab_size = {vocab_size} is below the {256 + has_eos} ids that a BPE of "
      "bytes starts from; write more."
    )
  library = _library()
  inner = library.Tokenizer(library.models.BPE())
  inner.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
  inner.decoder = library.decoders.ByteLevel()
  trainer = library.trainers.BpeTrainer(
    vocab_size=vocab_size,
    special_tokens=list(EOS_NAMES[:1] if has_eos else ()),
    initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  inner.train_from_iterator(texts, trainer)
  return LibraryTokenizer(json.loads(inner.to_str()))


def train_wordpiece(texts: Iterable[str], *, vocab_size: int) -> LibraryTokenizer:
  """A WordPiece of words parted by spaces; what continues a word begins with "##".

  Every character of the texts is a piece of its own, at a word's beginning and within
  one, so that no text of these characters is unknown.

  Raises:
    ValueError: fewer ids than the characters need.

  Source: Japanese and Korean Voice Search, Schuster, 2012, section 3.
  """
  library = _library()
  inner = library.Tokenizer(library.models.WordPiece(unk_token=UNKNOWN))
  inner.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
  inner.decoder = library.decoders.WordPiece(prefix="##", cleanup=False)
  kept = list(texts)
  letters = sorted(set("".join(kept)) - {" "})
  first = [UNKNOWN, *letters, *(f"##{letter}" for letter in letters)]
  if vocab_size < len(first):
    raise ValueError(
      f"data.vocab_size = {vocab_size} is below the {len(first)} ids that a WordPiece "
      f"of {len(letters)} characters starts from; write more."
    )
  trainer = library.trainers.WordPieceTrainer(
    vocab_size=vocab_size, special_tokens=first, show_progress=False
  )
  inner.train_from_iterator(kept, trainer)
  content = json.loads(inner.to_str())
  content["added_tokens"] = content["added_tokens"][:1]  # letters are no special tokens
  return LibraryTokenizer(content)


def _first(ids: Mapping[str, int], names: Sequence[str]) -> int | None:
  """The id of the first name that a vocabulary has."""
  return next((ids[name] for name in names if name in ids), None)


def _library() -> Any:
  """The package, imported where it is needed."""
  try:
    import tokenizers
  except ModuleNotFoundError as error:
    raise ValueError(
      "BPE and WordPiece files need the package `tokenizers`, which is not installed; "
      "run `pip install mdm[data]`."
    ) from error
  return tokenizers
