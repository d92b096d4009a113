import json
import re
from pathlib import Path

import pytest

from mdm.evaluation import claims, results

ROOT = Path(__file__).parents[2]
RECORD = {
  "title": "B beats A.",
  "command": "mdm claim configs/claims/x.py --workdir runs/claim_x",
  "hardware": "2 cores",
  "date": "2026-01-02",
  "report": ["words/accuracy"],
  "compare": [["B", "A", "words/accuracy"]],
  "results": {
    "A": [{"words/accuracy": 0.30}, {"words/accuracy": 0.32}],
    "B": [{"words/accuracy": 0.50}, {"words/accuracy": 0.53}],
  },
}


def _folder(tmp_path, parts, **records):
  (tmp_path / "claims").mkdir(exist_ok=True)
  contents = {"title": "All", "text": ["Read", "this."], "sections": ["one"]}
  (tmp_path / "contents.json").write_text(json.dumps(contents))
  (tmp_path / "one.json").write_text(json.dumps({"title": "One", "parts": parts}))
  for name, record in records.items():
    (tmp_path / "claims" / f"{name}.json").write_text(json.dumps(record))
  return tmp_path


def test_the_page_of_the_repository_is_what_its_results_make():
  assert (ROOT / "RESULTS.md").read_text() == results.render_results(
    ROOT / "configs" / "results"
  ), "`mdm results` makes it"


def test_every_stored_result_is_small_and_dated():
  for path in (ROOT / "configs" / "results").rglob("*.json"):
    assert path.stat().st_size < 500_000
    found = results.read_result(path)
    if path.parent.name == "claims" or "commands" in found:
      assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"]), path
      assert found["hardware"], path


def test_every_stored_claim_is_shown_and_has_its_seeds():
  folder = ROOT / "configs" / "results"
  shown = [p.get("claim") for p in results.read_result(folder / "claims.json")["parts"]]
  for path in (folder / "claims").glob("*.json"):
    record = results.read_result(path)
    assert path.stem in shown
    assert len({len(runs) for runs in record["results"].values()}) == 1, path
    assert record["title"] == claims.load_claim(f"claims/{path.stem}").title


def test_a_page_is_its_opening_and_its_sections_in_order(tmp_path):
  page = results.render_results(_folder(tmp_path, [{"text": ["A line.", "Another."]}]))
  assert page == "# All\n\nRead\nthis.\n\n## One\n\nA line.\nAnother.\n"


def test_cells_are_written_as_their_column_says():
  table = results.render_table(
    [
      "what",
      {"name": "share", "format": "{:.1f}% ± {:.1f}"},
      {"name": "n", "format": "{:,}"},
    ],
    [["a", [89.61, 0.7], 12_000], ["b", "none", None]],
  )
  assert table.splitlines() == [
    "| what | share | n |",
    "|---|---|---|",
    "| a | 89.6% ± 0.7 | 12,000 |",
    "| b | none | |",
  ]


@pytest.mark.parametrize(
  ("columns", "row", "answer"),
  [(["a", "b"], ["x"], "write null"), (["a"], [1.5], "without a format")],
)
def test_a_row_that_does_not_fit_is_refused(columns, row, answer):
  with pytest.raises(ValueError, match=answer):
    results.render_table(columns, [row])


def test_a_claim_has_the_tables_that_its_command_prints(tmp_path):
  text = results.render_claim(RECORD | {"before": ["`do it`:"], "after": ["So there."]})
  assert text.startswith("`do it`:\n\n**B beats A.**")
  assert text.endswith("\n\nSo there.")
  assert "| words/accuracy | 0.3100 ± 0.0141 | 0.5150 ± 0.0212 |" in text
  assert "| B - A | words/accuracy | +0.2050 |" in text


def test_a_claim_of_which_nothing_is_said_tells_its_command_and_seeds():
  assert results.render_claim(RECORD).splitlines()[0] == (
    "`mdm claim configs/claims/x.py --workdir runs/claim_x`, 2 cores, mean and "
    "standard deviation over 2 seeds:"
  )


def test_the_overview_has_a_row_for_each_thing_said(tmp_path):
  said = {"paper": "X", "claim": "more", "published": "1%", "ours": "**holds**"}
  folder = _folder(
    tmp_path,
    [{"overview": True}, {"claim": "x"}, {"claim": "y"}],
    x=RECORD | {"overview": [said, said | {"ours": "no"}]},
    y=RECORD,
  )
  rows = [
    line for line in results.render_results(folder).splitlines() if "| X " in line
  ]
  assert rows == [
    "| X | more | 1% | **holds** | below | 2 |",
    "| X | more | 1% | no | below | 2 |",
  ]


def test_figures_of_a_benchmark_are_named_by_where_they_are(tmp_path):
  figures = {"rows": [{"ms": 1.23456, "what": "ours"}], "count": 3}
  page = results.render_results(_folder(tmp_path, [{"figures": figures}]))
  assert "| `rows/0/ms` | 1.235 |" in page
  assert "| `rows/0/what` | ours |" in page and "| `count` | 3 |" in page


def test_a_part_of_no_known_kind_is_refused(tmp_path):
  with pytest.raises(ValueError, match="none of text, rows"):
    results.render_results(_folder(tmp_path, [{"prose": []}]))


@pytest.mark.parametrize(
  ("text", "answer"),
  [(None, "is missing"), ("{", "no JSON"), ("[1]", "no JSON object")],
)
def test_a_file_that_is_wrong_is_named(tmp_path, text, answer):
  path = tmp_path / "x.json"
  if text is not None:
    path.write_text(text)
  with pytest.raises(ValueError, match=answer):
    results.read_result(path)
