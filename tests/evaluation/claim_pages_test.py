import json
from html.parser import HTMLParser

import pytest

from mdm.evaluation import claim_pages, claims, result_store

LOGS = {"pre": [4.0, 3.0, 2.0], "A": [2.0, 1.5, 1.0], "B": [2.0, 1.0, 0.5]}


@pytest.fixture
def claim():
  return claims.Claim(
    title="B <beats> A & all.",
    base="configs/image/mae_cifar10.py",
    arms={"A": ["train.note=<i>"], "B": []},
    compare=[("B", "A", "val/accuracy")],
    report=["val/accuracy", "val/loss"],
    seeds=2,
    first_seed=10,
    stages={"pre": {"base": "configs/x.py", "set": []}},
  )


@pytest.fixture
def record(claim):
  results = {
    "A": [{"val/accuracy": 0.30}, {"val/accuracy": 0.32}],
    "B": [{"val/accuracy": 0.50}, {"val/accuracy": 0.53}],
  }
  return result_store.describe_claim(claim, "x.py", results, hardware="a <desk>")


def _train(claim, workdir):
  for name, losses in LOGS.items():
    for seed in (10, 11):
      folder = claims.folder_of(workdir, name, seed)
      folder.mkdir(parents=True)
      rows = [
        {"step": 10 * k, "loss": loss + seed}
        | ({"val/accuracy": 0.1} if k == 3 else {})
        for k, loss in enumerate(losses, 1)
      ]
      text = "".join(json.dumps(row) + "\n" for row in rows)
      (folder / "metrics.jsonl").write_text(text)


class _Reader(HTMLParser):
  """Tags, texts and addresses of a page; complains of tags that do not match."""

  def __init__(self):
    super().__init__()
    self.open, self.tags, self.texts, self.links = [], [], [], []

  def handle_starttag(self, tag, attrs):
    self.handle_startendtag(tag, attrs)
    if tag not in ("meta", "br"):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.links += [value for name, value in attrs if name in ("src", "href")]

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.texts.append(data)


def _read(page):
  reader = _Reader()
  reader.feed(page)
  assert not reader.open
  return reader


def test_curves_are_those_of_each_arm_and_seed(claim, tmp_path):
  _train(claim, tmp_path)
  curves = claim_pages.read_curves(claim, tmp_path)
  assert list(curves) == ["loss", "loss of what is trained before"]
  assert curves["loss"]["B"] == [
    [(10, 12.0), (20, 11.0), (30, 10.5)],
    [(10, 13.0), (20, 12.0), (30, 11.5)],
  ]
  assert list(curves["loss of what is trained before"]) == ["pre"]


def test_runs_that_are_not_there_have_no_curves(claim, tmp_path):
  assert claim_pages.read_curves(claim, tmp_path) == {}


def test_a_page_has_every_seed_the_difference_and_the_verdict(claim, record, tmp_path):
  _train(claim, tmp_path)
  curves = claim_pages.read_curves(claim, tmp_path)
  texts = _read(claim_pages.render_page(claim, record, curves)).texts
  for wanted in (
    "0.3000",
    "0.3200",
    "0.5150",
    "+0.2050",
    "seed 11",
    "holds",
    record["date"],
  ):
    assert wanted in texts
  gap = claims.compare([0.5, 0.53], [0.3, 0.32])
  assert f"[{gap.low:+.4f}, {gap.high:+.4f}]" in texts


def test_a_page_needs_nothing_else_and_runs_nothing(claim, record, tmp_path):
  _train(claim, tmp_path)
  reader = _read(
    claim_pages.render_page(claim, record, claim_pages.read_curves(claim, tmp_path))
  )
  assert reader.links == [] and "script" not in reader.tags
  assert reader.tags.count("polyline") == 2 * (2 + 1) + 2 + 1


def test_every_text_is_escaped(claim, record):
  page = claim_pages.render_page(
    claim, record, {"<u>": {"<s>": [[(0, 1.0), (1, 2.0)]]}}
  )
  for raw in ("<beats>", "<i>", "<desk>", "<u>", "<s>"):
    assert raw not in page
  assert "B <beats> A & all." in "".join(_read(page).texts)


def test_a_number_that_was_never_measured_has_no_row(claim, record):
  assert "val/loss" not in claim_pages.render_page(claim, record, {})
