"""Corpora by name: documents in order, from files that are at hand.

  kjv           King James Bible, a chapter a document, verses as lines, no numbers
  text_corpora  tiny Shakespeare, or WikiText-2's articles (validation and test text)
  text          a .txt file or a folder of them, in the order of their paths

Where passages are held out, long documents are cut after blank lines (or lines, or
words) into parts of about `PASSAGE` characters, so that held-out text comes from all
over a corpus; parts that stay neighbours are joined again without a seam.
Files named train, valid, validation, val or test keep that split.

Files of the user's own may be of any size: they are read in blocks, each time anew.
"""

import codecs
import dataclasses
import io
import pathlib
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator

from mdm.data.text.settings import TextSettings

PASSAGE = 8_192
BLOCK = 1 << 20  # bytes of a file that are read at once
ARCHIVE = "text_corpora.tar.xz"
VERSES = 31_102  # of the King James Bible
PUBLISHED = {"train": "train", "valid": "validation", "validation": "validation",
             "val": "validation", "test": "test"}  # fmt: skip
KJV_REMEDY = (
  "install Debian's text and command with `apt-get install bible-kjv-text bible-kjv`, "
  "or set data.manual_dir to a folder with kjv.txt, a line 'Genesis 1:1 In the "
  "beginning ...' for each verse."
)
CORPORA_REMEDY = f"set data.manual_dir to the folder with {ARCHIVE} or its .txt files."


@dataclasses.dataclass(frozen=True)
class Document:
  """A text of its own, or a passage of one.

  Attributes:
    name: what a report calls it.
    text: its characters.
    split: where the publisher chose one.
    part: which passage of the text of this name.
    more: whether this is a piece only, and the document goes on in the next one.
  """

  name: str
  text: str
  split: str | None = None
  part: int = 0
  more: bool = False

  def follows(self, other: "Document") -> bool:
    """Whether it goes on where the other ends."""
    return (self.name, self.part) == (other.name, other.part + 1)


def read_corpus(settings: TextSettings) -> list[Document]:
  """The documents of a corpus, those of large files perhaps in pieces.

  Raises:
    FileNotFoundError: what it is made from is missing; the remedy is named.
    ValueError: a file of it cannot be read, or there is no text.
  """
  return list(open_corpus(settings)())


def open_corpus(settings: TextSettings) -> Callable[[], Iterator[Document]]:
  """A function that reads a corpus from its beginning, as often as it is called.

  Published corpora are kept in memory; the user's own files are not.

  Raises:
    FileNotFoundError, ValueError: as `read_corpus`, perhaps only as documents are read.
  """
  if settings.name == "text":
    list_files(settings.path, (".txt",))
    return lambda: _not_empty(_read_text(settings), settings)
  read = {"kjv": _read_kjv, "text_corpora": _read_text_corpora}
  found = list(_not_empty(read[settings.name](settings), settings))
  return lambda: iter(found)


def source_files(settings: TextSettings) -> list[pathlib.Path]:
  """Files of the user's that a corpus is made from."""
  if settings.name == "text":
    return list_files(settings.path, (".txt",))
  if settings.manual_dir is None:
    return []
  folder = pathlib.Path(settings.manual_dir).expanduser()
  names = ["kjv.txt"] if settings.name == "kjv" else [ARCHIVE, *_parts(settings.corpus)]
  return [folder / name for name in names if (folder / name).is_file()]


def list_files(path: str | None, suffixes: tuple[str, ...]) -> list[pathlib.Path]:
  """A file, or those of a folder with these endings, sorted by path.

  Raises:
    FileNotFoundError: it does not exist or holds no such file.
  """
  place = pathlib.Path(path or "").expanduser()
  if path is None or not place.exists():
    raise FileNotFoundError(
      f"data.path = {path!r} does not exist; set it to a file or folder."
    )
  if place.is_file():
    return [place]
  found = sorted(p for p in place.rglob("*") if p.suffix.lower() in suffixes)
  if not found:
    raise FileNotFoundError(
      f"data.path = {path!r} holds no {' or '.join(suffixes)} file; choose another."
    )
  return found


def read_utf8(path: pathlib.Path) -> str:
  """A file's text, lines ended by a line feed alone.

  Raises:
    ValueError: it is not UTF-8.
  """
  try:
    return path.read_text("utf-8-sig")
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{path} is not UTF-8 (byte {error.start}); convert it with `iconv -t utf-8`."
    ) from error


def read_blocks(path: pathlib.Path) -> Iterator[str]:
  """A file's text as `read_utf8` has it, without empty lines at its ends, in blocks.

  Raises:
    ValueError: it is not UTF-8.
  """
  decoder = io.IncrementalNewlineDecoder(
    codecs.getincrementaldecoder("utf-8-sig")(), translate=True
  )
  has_begun, held = False, 0  # line feeds that may be the file's last
  with path.open("rb") as file:
    while True:
      block = file.read(BLOCK)
      try:
        text = decoder.decode(block, final=not block)
      except UnicodeDecodeError as error:
        where = file.tell() - len(error.object) + error.start
        raise ValueError(
          f"{path} is not UTF-8 (byte {where}); convert it with `iconv -t utf-8`."
        ) from error
      text = text if has_begun else text.lstrip("\n")
      body = text.rstrip("\n")
      if body:
        yield "\n" * held + body
        has_begun, held = True, 0
      held += len(text) - len(body)
      if not block:
        return


def cut_passages(name: str, text: str | Iterable[str]) -> Iterator[Document]:
  """A text in passages of about `PASSAGE` characters; joined they are the text.

  Args:
    name: of the text.
    text: all of it, or its blocks in order.
  """
  rest, part = "", 0
  for block in [text] if isinstance(text, str) else text:
    rest, first = rest + block, 0
    while len(rest) - first >= 2 * PASSAGE:
      aim = first + PASSAGE
      gaps = ((rest.find(g, aim, aim + PASSAGE), len(g)) for g in ("\n\n", "\n", " "))
      last = next((end + size for end, size in gaps if end > 0), aim)
      yield Document(name, rest[first:last], None, part)
      first, part = last, part + 1
    rest = rest[first:]
  if rest:
    yield Document(name, rest, None, part)


def _read_text(settings: TextSettings) -> Iterator[Document]:
  for path in list_files(settings.path, (".txt",)):
    split = PUBLISHED.get(path.stem)
    if settings.split == "ends" or split is not None:
      yield from _pieces(str(path), read_blocks(path), split)
    else:
      yield from cut_passages(str(path), read_blocks(path))


def _pieces(name: str, blocks: Iterable[str], split: str | None) -> Iterator[Document]:
  """One document in pieces, of which the last one knows that it is."""
  last: str | None = None
  for block in blocks:
    if last is not None:
      yield Document(name, last, split, more=True)
    last = block
  yield Document(name, last or "", split)


def _not_empty(
  documents: Iterable[Document], settings: TextSettings
) -> Iterator[Document]:
  """Those with text.

  Raises:
    ValueError: there is none.
  """
  count = 0
  for document in documents:
    if document.text:
      count += 1
      yield document
  if not count:
    raise ValueError(f"data set {settings.name!r} has no text; correct data.path.")


def _read_text_corpora(settings: TextSettings) -> Iterator[Document]:
  for name in _parts(settings.corpus):
    text = _read_part(settings.manual_dir, name).strip("\n")
    if settings.corpus == "tiny_shakespeare":
      yield from cut_passages(name, text)
      continue
    split = "test" if name.endswith("test.txt") else None
    articles = re.split(r"\n(?= = [^=].* = \n)", text)
    for number, article in enumerate(articles):
      yield Document(f"{name}#{number}", article.strip(), split)


def _parts(corpus: str) -> list[str]:
  """The files of a corpus in the archive."""
  if corpus == "tiny_shakespeare":
    return ["tiny_shakespeare.txt"]
  return ["wikitext2_valid.txt", "wikitext2_test.txt"]


def _read_part(manual_dir: str | None, name: str) -> str:
  """A file of the archive, unpacked or not."""
  folder = pathlib.Path(manual_dir or "").expanduser()
  if manual_dir is not None and (folder / name).is_file():
    return read_utf8(folder / name)
  if manual_dir is None or not (folder / ARCHIVE).is_file():
    raise FileNotFoundError(
      f"data.manual_dir = {manual_dir!r} has no {name}: {CORPORA_REMEDY}"
    )
  try:
    with tarfile.open(folder / ARCHIVE) as tar:
      stream = tar.extractfile(name)
      return stream.read().decode("utf-8") if stream else ""
  except (tarfile.TarError, EOFError, KeyError, OSError, ValueError) as error:
    raise ValueError(
      f"{folder / ARCHIVE} cannot be read as the archive of corpora ({error}); fetch "
      "it again."
    ) from error


def _read_kjv(settings: TextSettings) -> Iterator[Document]:
  """Chapters of the file, or of what the package's command prints."""
  if settings.manual_dir is not None:
    path = pathlib.Path(settings.manual_dir).expanduser() / "kjv.txt"
    if not path.is_file():
      raise FileNotFoundError(
        f"data.manual_dir = {settings.manual_dir!r} has no kjv.txt: {KJV_REMEDY}"
      )
    return _chapters(read_utf8(path), str(path))
  command = shutil.which("bible")
  if command is None:
    raise FileNotFoundError(f"the command `bible` is not there: {KJV_REMEDY}")
  done = subprocess.run(
    [command, "-f", "Gen1:1-Rev22:21"],
    stdin=subprocess.DEVNULL,
    capture_output=True,
    text=True,
  )
  if done.returncode or done.stdout.count("\n") < VERSES:
    raise ValueError(
      f"{command} gave {done.stdout.count(chr(10))} of {VERSES} verses "
      f"({done.stderr.strip()[:200] or 'no message'}): {KJV_REMEDY}"
    )
  return _chapters(done.stdout, command)


def _chapters(text: str, where: str) -> Iterator[Document]:
  """Documents of lines 'BOOK CHAPTER:VERSE TEXT', a line a verse.

  Raises:
    ValueError: a line of another form.
  """
  chapters: dict[str, list[str]] = {}
  for number, line in enumerate(text.splitlines(), 1):
    found = re.match(r"\s*(\d?\s?[A-Za-z ]+?)\s?(\d+):\d+\s+(.+)", line)
    if found is None and line.strip():
      raise ValueError(
        f"{where}, line {number}: {line[:60]!r} is no verse; write 'BOOK "
        "CHAPTER:VERSE TEXT'."
      )
    if found is not None:
      chapters.setdefault(f"{found[1]} {found[2]}", []).append(found[3].strip())
  yield from (Document(name, "\n".join(v)) for name, v in chapters.items())
