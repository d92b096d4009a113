import numpy as np
import pytest

from mdm.data.text.corpora import Document, cut_passages
from mdm.data.text.splits import (
  SEPARATOR,
  SPLITS,
  plan_splits,
  split_documents,
  take_census,
)


def documents(count=100):
  lengths = np.random.default_rng(0).integers(50, 150, count)
  return [Document(f"{k}", f"{k:04d}" * n) for k, n in enumerate(lengths.tolist())]


def split(found, how="passages", held_out=0.2, seed=0):
  return split_documents(found, how=how, held_out=held_out, seed=seed)


def sizes(parts):
  return {s: sum(len(d.text) for d in found) for s, found in parts.items()}


def test_every_document_is_in_one_split_and_in_order():
  parts = split(documents())
  assert tuple(parts) == SPLITS
  assert sorted((d for p in parts.values() for d in p), key=lambda d: int(d.name)) == (
    documents()
  )
  for found in parts.values():
    assert [int(d.name) for d in found] == sorted(int(d.name) for d in found)


def test_half_of_what_is_held_out_is_validation_and_half_is_test():
  found = sizes(split(documents()))
  whole = sum(found.values())
  for name in ("validation", "test"):
    assert 0.1 * whole <= found[name] < 0.1 * whole + 600  # up to one document more


def test_what_is_held_out_depends_on_seed_and_text_alone():
  one, again, other = split(documents()), split(documents()), split(documents(), seed=1)
  assert one == again
  assert one["test"] != other["test"]
  renamed = [Document("x", d.text) for d in documents()]
  assert [d.text for d in split(renamed)["test"]] == [d.text for d in one["test"]]


def test_documents_of_the_same_text_are_in_the_same_split():
  twice = documents(30) + [Document(f"{d.name} again", d.text) for d in documents(30)]
  texts = [{d.text for d in found} for found in split(twice, held_out=0.5).values()]
  assert texts[0].isdisjoint(texts[1] | texts[2])
  assert texts[1].isdisjoint(texts[2])


@pytest.mark.parametrize("held_out", [0.001, 0.1, 0.9, 0.999])
@pytest.mark.parametrize("count", [3, 4, 10])
def test_no_split_is_empty(count, held_out):
  assert all(split(documents(count), held_out=held_out).values())


def test_too_few_documents_are_refused():
  with pytest.raises(ValueError, match=r"2 different documents leaves none.*'ends'"):
    split([*documents(2), *documents(2)])


def test_published_splits_stay_and_the_rest_is_drawn_from_training():
  found = documents(20)
  found[3] = Document("t", "test text", "test")
  found[4] = Document("r", "train text " * 9, "train")
  parts = split(found)
  assert parts["test"] == [found[3]]
  assert parts["validation"]
  assert len(parts["train"]) + len(parts["validation"]) == 19


def test_the_ends_are_the_last_characters_in_order():
  text = "".join(chr(97 + k % 26) for k in range(1_000))
  parts = split([Document("x", text)], how="ends", held_out=0.1)
  assert "".join(parts[s][0].text for s in SPLITS) == text
  assert sizes(parts) == {"train": 900, "validation": 50, "test": 50}


def test_the_ends_of_several_documents_are_those_of_the_joined_text():
  found = documents(5)
  parts = split(found, how="ends")
  joined = SEPARATOR.join(d.text for d in found)
  assert "".join(parts[s][0].text for s in SPLITS) == joined
  with pytest.raises(ValueError, match="5 characters leaves none"):
    split([Document("x", "short")], how="ends")


def in_pieces(found, size=70):
  """The same documents, in pieces."""
  for d in found:
    starts = range(0, len(d.text), size)
    for k in starts:
      more = k != starts[-1]
      yield Document(d.name, d.text[k : k + size], d.split, d.part, more)


@pytest.mark.parametrize("how", ["passages", "ends"])
def test_documents_in_pieces_are_split_like_whole_ones(how):
  found = documents(40)
  found[3] = Document("t", "test text " * 30, "test")
  census = take_census(in_pieces(found), seed=0)
  assert census.size.tolist() == [len(d.text) for d in found]
  plan, whole = plan_splits(census, how=how, held_out=0.2), split(found, how)
  for name in SPLITS:
    pieces = list(plan.documents(in_pieces(found), name))
    assert "".join(d.text for d in pieces) == "".join(d.text for d in whole[name])
    assert plan.count(name) == len(whole[name])


def test_passages_of_one_text_are_held_out_from_all_over_it():
  passages = list(cut_passages("x", "some words of it " * 30_000))
  differing = [Document(d.name, f"{d.part} {d.text}", None, d.part) for d in passages]
  held = split(differing, held_out=0.3)
  parts = [d.part for d in held["validation"] + held["test"]]
  assert max(np.diff(sorted([0, *parts, len(passages)]))) < len(passages) / 2
