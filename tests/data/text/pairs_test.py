import json

import numpy as np
import pytest

from mdm.data import datasets, pipeline
from mdm.data.batch import check_batch

ROWS = [(f"{a} plus {b} is ", f"{a + b}") for a in range(12) for b in range(12)]


def write(folder, rows=ROWS, name="sums.jsonl"):
  lines = [json.dumps({"prompt": p, "answer": a}) for p, a in rows]
  (folder / name).write_text("\n".join(lines) + "\n")
  return folder


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  section = {
    "name": "pairs", "data_dir": str(tmp_path_factory.mktemp("home")), "length": 20,
    "path": str(write(tmp_path_factory.mktemp("pairs"))), "held_out": 0.3,
  }  # fmt: skip
  datasets.prepare(**section)
  return section


def own(tmp_path, **changes):
  section = {"name": "pairs", "data_dir": str(tmp_path / "home"), "path": str(tmp_path)}
  return section | {"length": 20, "held_out": 0.3} | changes


def test_each_pair_is_in_one_split(section):
  found = [
    [(r["prompt"], r["answer"]) for r in map(dataset.record, range(len(dataset)))]
    for dataset in (datasets.load(section, s) for s in ("train", "validation", "test"))
  ]
  assert sorted(found[0] + found[1] + found[2]) == sorted(ROWS)
  assert all(found)


def test_prompt_marks_what_is_given_and_eos_fills_the_answer(section):
  dataset = datasets.load(section, "train")
  found = dataset.fetch(np.arange(len(dataset)))
  eos = dataset.tokenizer.eos_id
  for k, (tokens, prompt, valid) in enumerate(zip(*found.values(), strict=True)):
    record = dataset.record(k)
    assert dataset.tokenizer.decode(tokens[prompt]) == record["prompt"]
    assert prompt[: len(record["prompt"])].all()
    answer = tokens[~prompt]
    size = len(record["answer"])
    assert dataset.tokenizer.decode(answer[:size]) == record["answer"]
    assert (answer[size:] == eos).all() and len(answer) > size
    assert valid.all()


def test_else_one_eos_ends_the_answer_and_the_rest_is_padding(section):
  dataset = datasets.load(section | {"fills_with_eos": False}, "train")
  found = dataset.fetch(np.arange(len(dataset)))
  for k, (tokens, prompt, valid) in enumerate(zip(*found.values(), strict=True)):
    record = dataset.record(k)
    assert valid.sum() == record["num_tokens"] == len(record["text"]) + 1
    assert (tokens[valid] == dataset.tokenizer.eos_id).sum() == 1
    assert tokens[valid][-1] == dataset.tokenizer.eos_id
    assert not (prompt & ~valid).any()


def test_batches_keep_to_the_table_for_any_number_of_processes(section):
  dataset = datasets.load(section, "train")
  whole = pipeline.batch_at(dataset, 9, seed=1, batch=8)
  check_batch(whole)
  assert whole["prompt"].dtype == bool
  parts = [
    pipeline.batch_at(dataset, 9, seed=1, batch=8, process=p, num_processes=2)
    for p in (0, 1)
  ]
  for name, array in whole.items():
    assert (np.concatenate([p[name] for p in parts]) == array).all()


def test_a_prompt_with_several_answers_is_in_one_split_only(tmp_path):
  rows = [(f"say {k % 10} ", f"{k}") for k in range(60)]
  section = own(write(tmp_path, rows), held_out=0.6)
  datasets.prepare(**section)
  prompts = [
    {dataset.record(k)["prompt"] for k in range(len(dataset))}
    for dataset in (datasets.load(section, s) for s in ("train", "validation", "test"))
  ]
  assert sum(map(len, prompts)) == 10


def test_tabs_and_json_lines_are_the_same(tmp_path, section):
  text = "\n".join(f"{p}\t{a}" for p, a in ROWS)
  (tmp_path / "sums.tsv").write_text(text)
  other = own(tmp_path)
  datasets.prepare(**other)
  one, two = (datasets.load(s, "test") for s in (section, other))
  assert [one.record(k)["text"] for k in range(len(one))] == [
    two.record(k)["text"] for k in range(len(two))
  ]


def test_files_named_after_a_split_keep_it(tmp_path):
  write(tmp_path, ROWS[:100], "train.jsonl")
  write(tmp_path, ROWS[100:], "test.jsonl")
  datasets.prepare(**own(tmp_path))
  counts = datasets.count_examples(own(tmp_path))
  assert counts["test"] == 44
  assert counts["train"] + counts["validation"] == 100


def test_pairs_that_do_not_fit_are_left_out_and_counted(section):
  whole = datasets.load(section, "train")
  short = datasets.load(section | {"length": 14}, "train")  # "1 plus 1 is 2" and EOS
  assert short.num_dropped > 0 and len(short) + short.num_dropped == len(whole)
  with pytest.raises(ValueError, match=r"data\.length = 5 holds no pair .* has 14 tok"):
    datasets.load(section | {"length": 5}, "train")


@pytest.mark.parametrize("tokenizer", ["bytes", "text8", "bpe"])
def test_other_tokenizers_end_answers_too(tmp_path, tokenizer):
  section = own(write(tmp_path), tokenizer=tokenizer, vocab_size=280, length=40)
  datasets.prepare(**section)
  dataset = datasets.load(section, "test")
  assert dataset.facts() == {
    "vocab_size": {"bytes": 257, "text8": 28, "bpe": 280}[tokenizer]
  }
  normal = dataset.tokenizer.normalize
  known = {normal(p) + normal(a) for p, a in ROWS}
  assert all(dataset.record(k)["text"] in known for k in range(len(dataset)))


@pytest.mark.parametrize(
  ("name", "line", "message"),
  [
    ("a.jsonl", "{", 'line 2 is no pair .*write {"prompt"'),
    ("a.jsonl", '{"prompt": "x"}', "line 2 is no pair .*answer"),
    ("a.jsonl", '{"prompt": 3, "answer": "y"}', "line 2 is not a prompt and an answer"),
    ("a.jsonl", '{"prompt": "x", "answer": ""}', "line 2 is not a prompt"),
    ("a.tsv", "no tab", "line 2 is not a prompt and an answer.*<tab>"),
    ("a.tsv", "one\ttwo\tthree", "line 2 is not a prompt"),
  ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, name, line, message):
  first = "x\ty" if name == "a.tsv" else '{"prompt": "x", "answer": "y"}'
  (tmp_path / name).write_text(f"{first}\n{line}\n")
  with pytest.raises(ValueError, match=message):
    datasets.prepare(**own(tmp_path))


def test_missing_and_empty_files_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"holds no \.jsonl or \.tsv"):
    datasets.prepare(**own(tmp_path))
  (tmp_path / "a.tsv").write_text("\n\n")
  with pytest.raises(ValueError, match="holds no pair; add some"):
    datasets.prepare(**own(tmp_path))
