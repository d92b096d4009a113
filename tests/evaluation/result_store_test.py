import json

import pytest

from mdm.evaluation import claims, result_store, results

RUNS = {"A": [{"x": 1.0}, {"x": 2.0}], "B": [{"x": 2.0}, {"x": 3.5}]}


@pytest.fixture
def folder(tmp_path):
  contents = {"title": "All", "text": ["Hm."], "sections": ["claims"]}
  folder = tmp_path / "results"
  result_store.write_file(folder / "contents.json", contents)
  result_store.write_file(folder / "claims.json", {"title": "Claims", "parts": []})
  return folder


@pytest.fixture
def record():
  claim = claims.Claim("B is more.", "", {"A": (), "B": ()}, [("B", "A", "x")], ["x"])
  return result_store.describe_claim(claim, "here/more.py", RUNS, hardware="a desk")


def _write(tmp_path, value):
  path = tmp_path / "numbers.json"
  path.write_text(json.dumps(value))
  return path


def test_a_claim_is_stored_with_every_seed_and_shown(tmp_path, folder, record):
  path = result_store.add_result(_write(tmp_path, record), "more", folder)
  assert path == folder / "claims" / "more.json"
  assert results.read_result(path)["results"] == RUNS
  page = results.render_results(folder)
  assert "`mdm claim configs/claims/more.py --workdir runs/claim_more`, a desk" in page
  assert "| B - A | x | +1.2500 |" in page


def test_a_claim_measured_again_keeps_what_is_said_of_it(tmp_path, folder, record):
  given = _write(tmp_path, record)
  path = result_store.add_result(given, "more", folder)
  result_store.write_file(path, results.read_result(path) | {"after": ["It is so."]})
  record["results"]["B"][0]["x"] = 9.0
  result_store.add_result(_write(tmp_path, record), "more", folder)
  assert results.read_result(path)["after"] == ["It is so."]
  assert results.read_result(path)["results"]["B"][0]["x"] == 9.0
  assert results.read_result(folder / "claims.json")["parts"] == [{"claim": "more"}]


def test_the_next_seeds_of_a_claim_are_added(tmp_path, folder, record):
  path = result_store.add_result(_write(tmp_path, record), "more", folder)
  count = len(RUNS["A"])
  more = {**record, "first_seed": record["first_seed"] + count, "hardware": "a pod"}
  result_store.add_result(_write(tmp_path, more), "more", folder)
  found = results.read_result(path)
  assert found["first_seed"] == record["first_seed"]
  assert found["hardware"] == "a desk; a pod"
  assert found["results"] == {arm: [*runs, *runs] for arm, runs in RUNS.items()}
  later = {**record, "first_seed": record["first_seed"] + 2 * count}
  for given, answer in (
    ({**later, "title": "B is less."}, "title is 'B is less.', was 'B is more.'"),
    ({**later, "results": {"A": RUNS["A"]}}, "have the arms A,"),
  ):
    with pytest.raises(ValueError, match=answer):
      result_store.add_result(_write(tmp_path, given), "more", folder)
  assert results.read_result(path) == found


def test_numbers_of_arms_alone_get_their_claim_from_its_config(tmp_path, folder):
  runs = {
    arm: [{"masked/loss": 0.5, "steps": 9.0}] for arm in ("MAE_1500", "MAE", "MTO")
  }
  path = result_store.add_result(_write(tmp_path, runs), "mto", folder, hardware="x")
  found = results.read_result(path)
  assert found["report"] == ["steps", "masked/loss"] and found["first_seed"] == 10
  assert list(found["results"]) == ["MAE_1500", "MAE", "MTO"]


def test_figures_of_a_benchmark_take_the_place_of_the_last_ones(tmp_path, folder):
  for figure in (1.5, 2.5):
    given = _write(tmp_path, {"ms": figure, "hardware": "a desk"})
    path = result_store.add_result(given, "tempo", folder)
  section = results.read_result(path)
  assert section["parts"] == [{"figures": {"ms": 2.5, "hardware": "a desk"}}]
  assert section["hardware"] == "a desk"
  assert results.read_result(folder / "contents.json")["sections"] == [
    "claims",
    "tempo",
  ]


def test_a_file_without_a_number_is_refused(tmp_path, folder):
  with pytest.raises(ValueError, match="no number"):
    result_store.add_result(_write(tmp_path, {"a": "b"}), "tempo", folder)


def test_a_large_file_is_refused(tmp_path, folder):
  path = _write(tmp_path, {"a": list(range(100_000))})
  with pytest.raises(ValueError, match="keep the figures alone"):
    result_store.add_result(path, "tempo", folder)


def test_a_page_is_checked_line_by_line(tmp_path, folder):
  page = tmp_path / "PAGE.md"
  result_store.store_page(folder, page)
  result_store.check_page(folder, page)
  page.write_text(page.read_text().replace("Hm.", "Hm!"))
  with pytest.raises(ValueError, match=r"line 3 is 'Hm!', not 'Hm\."):
    result_store.check_page(folder, page)
  page.unlink()
  with pytest.raises(ValueError, match=r"line 1 is '\(the end\)'"):
    result_store.check_page(folder, page)


def test_stored_json_is_what_was_given_and_fits_the_page():
  value = {"a": [list(range(8))] * 9, "b": {}, "c": {"d": None, "é": "x" * 60}}
  text = result_store.to_text(value)
  assert json.loads(text) == value
  assert max(map(len, text.splitlines())) <= 88
