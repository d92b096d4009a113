import io
import itertools
import os
import pathlib
import shutil
import stat
import tarfile

import pytest

from mdm.data.text import corpora
from mdm.data.text.corpora import PASSAGE, cut_passages, read_corpus
from mdm.data.text.settings import TextSettings

PUBLISHED = pathlib.Path(os.environ.get("MDM_DATA_DIR", ""))
VERSES = """Genesis 1:1 In the beginning.
Genesis 1:2 And the earth was.
Genesis 2:1 Thus the heavens.

1 John 1:1 That which was.
"""


def wiki(*titles):
  return "".join(f" \n = {t} = \n \n Of {t} . \n \n = = Past = = \n\n" for t in titles)


def pack(folder, **files):
  with tarfile.open(folder / corpora.ARCHIVE, "w:xz") as tar:
    for name, text in files.items():
      info = tarfile.TarInfo(f"{name}.txt")
      info.size = len(text.encode())
      tar.addfile(info, io.BytesIO(text.encode()))


def kjv(tmp_path):
  return TextSettings(name="kjv", manual_dir=str(tmp_path))


@pytest.mark.parametrize(
  "text",
  [
    "line\n" * 9_000,
    "word " * 9_000,
    "x" * 50_000,
    "short",
    ("a paragraph of text " * 30 + "\n\n") * 90,
  ],
  ids=["lines", "words", "letters", "short", "paragraphs"],
)
def test_passages_joined_are_the_text_and_keep_to_their_size(text):
  found = list(cut_passages("x", text))
  assert "".join(d.text for d in found) == text
  assert all(len(d.text) <= 2 * PASSAGE for d in found)
  assert all(b.follows(a) for a, b in itertools.pairwise(found))
  assert all(len(d.text) >= min(len(text), PASSAGE) for d in found[:-1])


def test_passages_end_with_a_paragraph_where_there_is_one():
  text = ("a paragraph of text " * 30 + "\n\n") * 90
  assert all(d.text.endswith("\n\n") for d in cut_passages("x", text))


@pytest.mark.parametrize("block", [1, 3, 1_000])
def test_blocks_of_a_file_are_its_text_without_empty_lines_at_its_ends(
  tmp_path, monkeypatch, block
):
  monkeypatch.setattr(corpora, "BLOCK", block)
  path = tmp_path / "a.txt"
  for text in ("\n\n\u00e9 one\r\n\r\n\n two\r \U0001f600\n\n\n", "\n\n", "", "x"):
    path.write_bytes(text.encode("utf-8-sig"))
    blocks = list(corpora.read_blocks(path))
    assert "".join(blocks) == corpora.read_utf8(path).strip("\n")
    assert all(blocks)


def test_a_byte_that_is_no_utf8_is_named_by_its_place_in_the_file(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(corpora, "BLOCK", 10)
  path = tmp_path / "a.txt"
  path.write_bytes("\u00e9".encode() * 12 + b"\xff" + b"more")
  with pytest.raises(ValueError, match=r"a\.txt is not UTF-8 \(byte 24\)"):
    list(corpora.read_blocks(path))


@pytest.mark.parametrize("block", [7, 9_999])
def test_passages_do_not_depend_on_how_a_file_is_read(tmp_path, monkeypatch, block):
  text = ("a paragraph of text " * 30 + "\n\n") * 90 + "x" * 30_000
  monkeypatch.setattr(corpora, "BLOCK", block)
  (tmp_path / "a.txt").write_text(text)
  found = read_corpus(TextSettings(name="text", path=str(tmp_path)))
  name = str(tmp_path / "a.txt")
  assert found == list(cut_passages(name, text))


def test_a_chapter_is_a_document_of_verses_without_their_numbers(tmp_path):
  (tmp_path / "kjv.txt").write_text(VERSES)
  found = read_corpus(kjv(tmp_path))
  assert [(d.name, d.text) for d in found] == [
    ("Genesis 1", "In the beginning.\nAnd the earth was."),
    ("Genesis 2", "Thus the heavens."),
    ("1 John 1", "That which was."),
  ]


def test_the_packages_command_is_read_like_a_file(tmp_path, monkeypatch):
  command = tmp_path / "bible"
  command.write_text("#!/bin/sh\necho 'Ge1:1 In the beginning.'\necho '2Jn1:1 I.'\n")
  command.chmod(command.stat().st_mode | stat.S_IEXEC)
  monkeypatch.setattr(corpora.shutil, "which", lambda name: str(command))
  with pytest.raises(ValueError, match="gave 2 of 31102 verses"):
    read_corpus(TextSettings())
  monkeypatch.setattr(corpora, "VERSES", 2)
  assert [d.name for d in read_corpus(TextSettings())] == ["Ge 1", "2Jn 1"]


def test_without_the_package_the_error_says_how_to_get_it(tmp_path, monkeypatch):
  monkeypatch.setattr(corpora.shutil, "which", lambda name: None)
  with pytest.raises(FileNotFoundError, match="apt-get install bible-kjv-text"):
    read_corpus(TextSettings())
  with pytest.raises(FileNotFoundError, match=r"has no kjv\.txt"):
    read_corpus(kjv(tmp_path))
  (tmp_path / "kjv.txt").write_text("Genesis 1:1 In.\nno verse\n")
  with pytest.raises(ValueError, match=r"line 2: 'no verse' is no verse"):
    read_corpus(kjv(tmp_path))


def test_articles_are_documents_and_the_published_test_text_is_the_test(tmp_path):
  pack(tmp_path, wikitext2_valid=wiki("Sun", "Moon"), wikitext2_test=wiki("Rain"))
  settings = TextSettings(
    name="text_corpora", corpus="wikitext2", manual_dir=str(tmp_path)
  )
  found = read_corpus(settings)
  assert [d.split for d in found] == [None, None, "test"]
  assert [d.text.split(" \n")[0] for d in found] == ["= Sun =", "= Moon =", "= Rain ="]
  assert all("= = Past = =" in d.text for d in found)


def test_the_archive_and_its_contents_are_the_same(tmp_path):
  text = "First Citizen:\nSpeak.\n\n" * 2_000
  settings = TextSettings(name="text_corpora", manual_dir=str(tmp_path))
  pack(tmp_path, tiny_shakespeare=text)
  packed = read_corpus(settings)
  (tmp_path / "tiny_shakespeare.txt").write_text(text)
  assert read_corpus(settings) == packed
  assert "".join(d.text for d in packed) == text.strip("\n")


def test_a_cut_archive_or_none_is_refused(tmp_path):
  settings = TextSettings(name="text_corpora", manual_dir=str(tmp_path))
  with pytest.raises(
    FileNotFoundError, match=r"has no tiny_shakespeare\.txt: set data"
  ):
    read_corpus(settings)
  pack(tmp_path, tiny_shakespeare="Speak. " * 1_000)
  path = tmp_path / corpora.ARCHIVE
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(ValueError, match="fetch it again"):
    read_corpus(settings)
  pack(tmp_path, other="Speak.")
  with pytest.raises(ValueError, match=r"tiny_shakespeare\.txt.*fetch it again"):
    read_corpus(settings)


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
  (tmp_path / "b").mkdir()
  for name in ("c.txt", "b/z.txt", "a.txt", "b/notes.md"):
    (tmp_path / name).write_text(f"\nof {name}\r\nend\n\n")
  found = read_corpus(TextSettings(name="text", path=str(tmp_path)))
  assert [d.text for d in found] == [
    f"of {n}\nend" for n in ("a.txt", "b/z.txt", "c.txt")
  ]


def test_files_that_are_named_after_a_split_keep_it(tmp_path):
  for name in ("train", "valid", "test"):
    (tmp_path / f"{name}.txt").write_text(name * 9_000)
  found = read_corpus(TextSettings(name="text", path=str(tmp_path)))
  assert [d.split for d in found] == ["test", "train", "validation"]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"caf\xe9", r"is not UTF-8 \(byte 3\)"),
    (b"\n\n", "has no text"),
    (None, "holds no"),
  ],
)
def test_a_folder_without_readable_text_is_refused(tmp_path, content, message):
  if content is not None:
    (tmp_path / "a.txt").write_bytes(content)
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    read_corpus(TextSettings(name="text", path=str(tmp_path)))


def test_a_path_that_is_not_there_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"data\.path = None does not exist"):
    read_corpus(TextSettings(name="text"))


@pytest.mark.skipif(
  not (PUBLISHED / corpora.ARCHIVE).is_file(),
  reason="MDM_DATA_DIR names no folder with text_corpora.tar.xz",
)
@pytest.mark.parametrize(
  ("corpus", "documents"), [("tiny_shakespeare", 132), ("wikitext2", 122)]
)
def test_the_published_corpora_are_read_whole(corpus, documents):
  settings = TextSettings(name="text_corpora", corpus=corpus, manual_dir=str(PUBLISHED))
  found = read_corpus(settings)
  assert len(found) == documents
  assert sum(len(d.text) for d in found) > 1_000_000


@pytest.mark.skipif(
  shutil.which("bible") is None, reason="Debian's bible-kjv-text is not installed"
)
def test_the_installed_bible_has_its_chapters():
  found = read_corpus(TextSettings())
  assert len(found) == 1_189
  assert found[0].text.startswith("In the beginning God created")
  assert found[-1].text.endswith("Amen.")
  assert sum(d.text.count("\n") + 1 for d in found) == corpora.VERSES
