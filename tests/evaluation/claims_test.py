import json
import math

import numpy as np
import pytest

from mdm.evaluation import claims
from mdm.training import config


def _claim(tmp_path, **changes):
  base = tmp_path / "base.py"
  base.write_text(
    "from mdm.training import config\n\n"
    "def get_config():\n"
    "  cfg = config.base()\n"
    "  cfg.train.steps = 3\n"
    "  return cfg\n"
  )
  settings = {
    "title": "B beats A.",
    "base": str(base),
    "arms": {"A": [], "B": ["train.steps=5"]},
    "compare": [("B", "A", "words/accuracy")],
    "report": ["words/accuracy"],
    "seeds": 3,
  }
  return claims.Claim(**(settings | changes))


def _trainer(log):
  def train(cfg, folder):
    log.append((cfg.train.steps, cfg.seed))
    return {"words/accuracy": cfg.train.steps / 10 + cfg.seed / 100}

  return train


def test_every_arm_is_trained_with_every_seed_once(tmp_path):
  log = []
  results = claims.run_claim(
    _claim(tmp_path), tmp_path, _trainer(log), say=lambda _: None
  )
  assert sorted(log) == [(s, k) for s in (3, 5) for k in range(3)]
  assert [r["words/accuracy"] for r in results["B"]] == pytest.approx([0.5, 0.51, 0.52])


def test_seeds_begin_where_the_claim_says(tmp_path):
  log = []
  claim = _claim(tmp_path, first_seed=10, seeds=2)
  claims.run_claim(claim, tmp_path, _trainer(log), say=lambda _: None)
  assert sorted(log) == [(s, k) for s in (3, 5) for k in (10, 11)]
  assert (tmp_path / "A-10" / "numbers.json").exists()


def test_what_is_done_is_not_trained_again(tmp_path):
  claim, log = _claim(tmp_path), []
  first = claims.run_claim(claim, tmp_path, _trainer(log), say=lambda _: None)
  (tmp_path / "A-1" / "numbers.json").unlink()
  log.clear()
  again = claims.run_claim(claim, tmp_path, _trainer(log), say=lambda _: None)
  assert log == [(3, 1)] and again == first


def test_numbers_are_stored_whole(tmp_path):
  claims.write_json(tmp_path / "a" / "x.json", {"b": 1})
  assert json.loads((tmp_path / "a" / "x.json").read_text()) == {"b": 1}
  assert not list((tmp_path / "a").glob("*.tmp"))


def test_interval_of_paired_difference_equals_students_t():
  a, b = [0.5, 0.6, 0.9], [0.4, 0.55, 0.7]
  gap = claims.compare(a, b)
  gaps = np.subtract(a, b)
  half = 4.302652729911275 * gaps.std(ddof=1) / math.sqrt(3)  # t, 97.5%, 2 degrees
  assert gap.mean == pytest.approx(gaps.mean())
  assert gap.high - gap.mean == pytest.approx(half)
  assert gap.mean - gap.low == pytest.approx(half)


@pytest.mark.parametrize(
  ("a", "b", "verdict"),
  [
    ([0.5, 0.51, 0.52], [0.1, 0.11, 0.12], "holds"),
    ([0.1, 0.11, 0.12], [0.5, 0.51, 0.53], "reversed"),
    ([0.1, 0.9, 0.5], [0.5, 0.1, 0.9], "not shown"),
    ([0.9], [0.1], "one seed"),
  ],
)
def test_verdict_says_whether_the_interval_excludes_zero(a, b, verdict):
  assert claims.compare(a, b).verdict() == verdict


def test_summary_has_every_arm_and_difference(tmp_path):
  claim = _claim(tmp_path)
  results = claims.run_claim(claim, tmp_path, _trainer([]), say=lambda _: None)
  text = claims.summarize(claim, results)
  assert "| words/accuracy | 0.3100 ± 0.0100 | 0.5100 ± 0.0100 |" in text
  assert "| B - A | words/accuracy | +0.2000 |" in text and "holds" in text


def test_unknown_arm_is_refused_with_the_nearest_name(tmp_path):
  with pytest.raises(ValueError, match="did you mean Base"):
    _claim(tmp_path, arms={"Base": []}, compare=[("base", "Base", "x")])


def test_unknown_key_of_a_claim_file_is_refused(tmp_path):
  path = tmp_path / "claim.py"
  path.write_text("def get_config():\n  return {'titel': 'x'}\n")
  with pytest.raises(ValueError, match="did you mean title"):
    claims.load_claim(path)


def test_two_numbers_of_one_arm_are_compared_and_missing_ones_left_out(tmp_path):
  claim = _claim(
    tmp_path, compare=[("B", "B", "few", "many")], report=["few", "text/bits"], seeds=2
  )
  results = {
    "A": [{"text/bits": 2.0}, {"text/bits": 4.0}],
    "B": [{"few": 3.0, "many": 1.0}, {"few": 3.5, "many": 1.3}],
  }
  text = claims.summarize(claim, results)
  assert "| few | - | 3.2500 ± 0.3536 |" in text
  assert "| text/bits | 3.0000 ± 1.4142 | - |" in text
  assert "| B - B | few - many | +2.1000 |" in text


def _staged(tmp_path, **changes):
  """Two stages, the second after the first; an arm after each, one of another base."""
  other = tmp_path / "other.py"
  other.write_text((tmp_path / "base.py").read_text().replace("steps = 3", "steps = 7"))
  settings = {
    "stages": {
      "first": {"base": str(other), "set": ["train.batch=8"]},
      "second": {"set": ["init={'run': '{first}', 'parts': {'a': 'a'}}"]},
    },
    "arms": {
      "A": [],
      "B": ["init.run={second}"],
      "C": {"base": str(other), "set": ["init.run={first}"]},
    },
    "shared": ["train.keep=2"],
    "seeds": 2,
  }
  return _claim(tmp_path, **(settings | changes))


def test_stages_are_trained_before_the_arms_that_start_from_them(tmp_path):
  _claim(tmp_path)  # writes the base
  log = []

  def train(cfg, folder):
    log.append((folder.name, cfg.train.steps, cfg.train.keep, cfg.init.get("run")))
    return {"words/accuracy": 0.5}

  claim = _staged(tmp_path)
  results = claims.run_claim(claim, tmp_path / "w", train, say=lambda _: None)
  assert log == [
    row
    for seed in (0, 1)
    for row in (
      (f"first-{seed}", 7, 3, None),
      (f"second-{seed}", 3, 3, str(tmp_path / f"w/first-{seed}")),
      (f"A-{seed}", 3, 2, None),
      (f"B-{seed}", 3, 2, str(tmp_path / f"w/second-{seed}")),
      (f"C-{seed}", 7, 2, str(tmp_path / f"w/first-{seed}")),
    )
  ]
  assert set(results) == {"A", "B", "C"}
  for name in ("second-1", "B-1"):
    (tmp_path / "w" / name / "numbers.json").unlink()
  log.clear()
  claims.run_claim(claim, tmp_path / "w", train, say=lambda _: None)
  assert [row[0] for row in log] == ["second-1", "B-1"]


def test_an_arm_is_not_read_whose_stage_is_gone(tmp_path):
  _claim(tmp_path)
  claim, log = _staged(tmp_path), []
  claims.run_claim(claim, tmp_path / "w", _trainer(log), say=lambda _: None)
  (tmp_path / "w/second-1/numbers.json").unlink()
  log.clear()
  with pytest.raises(ValueError, match=r"B-1 is done, but 'second'"):
    claims.run_claim(claim, tmp_path / "w", _trainer(log), say=lambda _: None)
  assert log == []


@pytest.mark.parametrize(
  ("setting", "message"),
  [
    ("train.steps=4", "train.steps: 3 there, 4 here"),
    ("optimizer.learning_rate=0.5", "optimizer.learning_rate"),
    ("eval={'x': {'name': 'losses'}}", "eval"),
    ("train.keep=9", None),
    ("sharding.preset=fsdp", None),
  ],
)
def test_a_run_of_another_config_is_not_read(tmp_path, setting, message):
  def train(cfg, folder):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config.to_json(cfg))
    return {"words/accuracy": 0.5}

  claim = _claim(tmp_path, seeds=1)
  claims.run_claim(claim, tmp_path / "w", train, say=lambda _: None)
  changed = _claim(tmp_path, seeds=1, arms={"A": [setting], "B": ["train.steps=5"]})
  if message is None:
    claims.run_claim(changed, tmp_path / "w", train, say=lambda _: None)
    return
  with pytest.raises(ValueError, match=f"A-0 is done, but by another.*{message}"):
    claims.run_claim(changed, tmp_path / "w", train, say=lambda _: None)


def test_overrides_reach_stages_and_braces_of_literals_stay(tmp_path):
  _claim(tmp_path)
  claim = _staged(tmp_path)
  cfg = claim.config_of("second", "w", 1, ["train.steps=2"])
  assert (cfg.train.steps, cfg.seed) == (2, 1)
  assert cfg.init.to_dict() == {"run": "w/first-1", "parts": {"a": "a"}}


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"stages": {"A": {}}}, "'A' is a stage and an arm"),
    ({"stages": {"s": {"sets": []}}}, "'sets' is not a key of 's'; did you mean set"),
    ({"arms": {"A": ["x.y={fist}"]}, "stages": {"first": {}}}, "mean first"),
    (
      {"stages": {"s": {"set": ["x.y={t}"]}, "t": {}}},
      "'t' is not a run before 's'",
    ),
    ({"reach": {"n": {"number": "x", "of": "D"}}}, "'D' is not an arm"),
  ],
)
def test_a_wrong_stage_is_refused(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    _claim(tmp_path, **({"compare": []} | changes))


def test_speeds_are_compared_with_each_seeds_own_run(tmp_path):
  claim = _claim(
    tmp_path,
    reach={"val/steps": {"number": "val/loss", "of": "A"}},
    compare=[("A", "B", "val/steps")],
    report=["val/steps"],
    seeds=2,
  )

  def train(cfg, folder):
    folder.mkdir(parents=True)
    fast = 3 if cfg.train.steps == 5 else 1  # arm B
    rows = [{"step": k, "val/loss": 9 - fast * k + cfg.seed} for k in range(1, 5)]
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "metrics.jsonl").write_text(text)
    return {}

  results = claims.run_claim(claim, tmp_path / "w", train, say=lambda _: None)
  assert [run["val/steps"] for run in results["A"]] == [4, 4]
  assert [run["val/steps"] for run in results["B"]] == [2, 2]
  text = claims.summarize(claim, results)
  assert "| A - B | val/steps | +2.0000 | [+2.0000, +2.0000] | holds |" in text


def test_what_was_never_reached_gives_no_difference(tmp_path):
  claim = _claim(tmp_path, compare=[("A", "B", "steps")], report=["steps"], seeds=2)
  results = {
    "A": [{"steps": 4.0}, {"steps": 5.0}],
    "B": [{"steps": 2.0}, {"steps": math.inf}],
  }
  text = claims.summarize(claim, results)
  assert "| steps | 4.5000 ± 0.7071 | not reached by 1 of 2 |" in text
  assert "| [+nan, +nan] | not reached |" in text
