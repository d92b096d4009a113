"""Claims: A beats B, trained alike with several seeds, with a confidence interval.

A claim's config names a base config, its arms (overrides each), the seeds, and pairs of
arms to compare on an evaluation's number. Seeds are paired: a seed gives the same
initial parameters and data order in every arm, so the interval is that of the mean
paired difference (Student's t, n - 1 degrees of freedom).

  {
    "base": "configs/image/classify_cifar10.py",
    "stages": {"mae": {"base": "configs/image/mae_cifar10.py", "set": []}},
    "arms": {"scratch": [], "pretrained": ["init.run={mae}"]},
    ...
  }

Stages are trained before the arms, once for each seed. In overrides, "{mae}" is the
folder of the run of that name with the same seed.
"""

import dataclasses
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import scipy.stats

from mdm.evaluation.curves import compare_speeds
from mdm.training import config

NAME = re.compile(r"\{([A-Za-z][\w-]*)\}")
# Settings that change no number, and where a folder lies, which names tell already.
ASIDE = (
  *(key for key in config.RESUMABLE if key not in ("train.steps", "eval")),
  "init.run",
)
Numbers = Mapping[str, float]
Trainer = Callable[[ml_collections.ConfigDict, Path], Numbers]


@dataclasses.dataclass(frozen=True)
class Claim:
  """What is compared.

  Attributes:
    title: the paper's claim in one sentence.
    base: path of the config that all arms share.
    arms: overrides ("section.key=value") of each arm, by its name; an arm of another
      base is written like a stage.
    compare: (arm, arm, number): by how much the first exceeds the second. Where the
      two are different numbers, perhaps of one arm, a fourth entry names the second's.
    report: numbers to print, for every arm that has them.
    shared: overrides for every arm.
    seeds: how often each arm is trained.
    first_seed: of them; above 0 where the recipe was chosen on the seeds before.
    stages: what is trained before the arms, by name: the path of its "base" and the
      overrides "set". An override may name the folder of a run before it: "{mae}".
    reach: numbers found from learning curves, by name: the settings of
      `curves.compare_speeds`, {"number": "val/loss", "of": arm}, give the steps that
      each arm took to be as good as that one was at its end.
  """

  title: str
  base: str
  arms: Mapping[str, Sequence[str] | Mapping[str, Any]]
  compare: Sequence[Sequence[str]]
  report: Sequence[str]
  shared: Sequence[str] = ()
  seeds: int = 3
  first_seed: int = 0
  stages: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
  reach: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

  def __post_init__(self) -> None:
    if both := set(self.stages) & set(self.arms):
      raise ValueError(f"{min(both)!r} is a stage and an arm; give each its own name.")
    known: list[str] = []
    for name in (*self.stages, *self.arms):
      for named in NAME.findall("\n".join(self.run(name)[1])):
        if named not in known:
          raise ValueError(config.unknown_key(named, known, f"a run before {name!r}"))
      known.append(name)
    for settings in self.reach.values():
      if settings.get("of") not in (None, *self.arms):
        raise ValueError(
          config.unknown_key(settings["of"], self.arms, "an arm of the claim")
        )
    for first, second, *_ in self.compare:
      for arm in (first, second):
        if arm not in self.arms:
          raise ValueError(config.unknown_key(arm, self.arms, "an arm of the claim"))

  def run(self, name: str) -> tuple[str, Sequence[str]]:
    """Base config and overrides of a stage or an arm.

    Raises:
      ValueError: it is written with keys other than "base" and "set".
    """
    given = self.stages[name] if name in self.stages else self.arms[name]
    if not isinstance(given, Mapping):
      return self.base, [*self.shared, *given]
    for key in given:
      if key not in ("base", "set"):
        raise ValueError(config.unknown_key(key, ("base", "set"), f"a key of {name!r}"))
    shared = self.shared if name in self.arms else ()
    return given.get("base", self.base), [*shared, *given.get("set", ())]

  def config_of(
    self, name: str, workdir: str | Path, seed: int, overrides: Sequence[str] = ()
  ) -> ml_collections.ConfigDict:
    """The config of a stage or an arm with one seed."""
    base, settings = self.run(name)

    def fill(match: re.Match[str]) -> str:
      """The folder of the run that is named."""
      return str(folder_of(workdir, match[1], seed))

    settings = [NAME.sub(fill, setting) for setting in settings]
    return config.load(base, [*settings, *overrides, f"seed={seed}"])


@dataclasses.dataclass(frozen=True)
class Difference:
  """A paired difference over seeds with its 95% confidence interval."""

  mean: float
  low: float
  high: float

  def verdict(self) -> str:
    """Whether the interval excludes 0, and on which side."""
    if math.isnan(self.mean):
      return "not reached"
    if math.isnan(self.low):
      return "one seed"
    return "holds" if self.low > 0 else "reversed" if self.high < 0 else "not shown"


def load_claim(path: str | Path) -> Claim:
  """The claim that a config file describes.

  Raises:
    ValueError: no such file, or keys that a claim does not have.
  """
  given = config.read_python(config.find(path))
  known = {f.name for f in dataclasses.fields(Claim)}
  for key in given:
    if key not in known:
      raise ValueError(config.unknown_key(key, known, f"a key of the claim {path}"))
  return Claim(**given)


def run_claim(
  claim: Claim, workdir: str | Path, trainer: Trainer, *, seeds: int | None = None,
  overrides: Sequence[str] = (), say: Callable[[str], None] = print,
) -> dict[str, list[Numbers]]:  # fmt: skip
  """Trains every stage and arm with every seed; what is done is read, not repeated.

  Args:
    claim: what is compared.
    workdir: one folder per run and seed is made in it.
    trainer: trains a config in a folder and returns its evaluations' numbers.
    seeds: number of seeds, if not the claim's.
    overrides: applied to every stage and arm last.
    say: told what is done next.

  Returns:
    The arms' numbers, one mapping for each seed.

  Raises:
    ValueError: what is done was done by another config, or from a stage that is gone.
  """
  results: dict[str, list[Numbers]] = {arm: [] for arm in claim.arms}
  for seed in range(claim.first_seed, claim.first_seed + (seeds or claim.seeds)):
    check_done(claim, workdir, seed, overrides)
    for name in (*claim.stages, *claim.arms):
      cfg = claim.config_of(name, workdir, seed, overrides)
      folder = folder_of(workdir, name, seed)
      stored = folder / "numbers.json"
      say(f"{name}, seed {seed}: {'done' if stored.exists() else folder}")
      if not stored.exists():
        write_json(stored, dict(trainer(cfg, folder)))
      if name in claim.arms:
        results[name].append(json.loads(stored.read_text()))
    runs = {arm: folder_of(workdir, arm, seed) for arm in claim.arms}
    for number, settings in claim.reach.items():
      for arm, steps in compare_speeds(runs, **settings).items():
        results[arm][-1] = {**results[arm][-1], number: steps}
  return results


def check_done(
  claim: Claim, workdir: str | Path, seed: int, overrides: Sequence[str] = ()
) -> None:
  """Whether the runs that are done are those the claim is about now.

  Raises:
    ValueError: one was done by another config, or from a stage that is not there.
  """
  done = {
    name: (folder_of(workdir, name, seed) / "numbers.json").exists()
    for name in (*claim.stages, *claim.arms)
  }
  for name in (name for name, is_done in done.items() if is_done):
    folder = folder_of(workdir, name, seed)
    for origin in NAME.findall("\n".join(claim.run(name)[1])):
      if not done[origin]:
        raise ValueError(
          f"{folder} is done, but {origin!r}, of which it was made, is not; delete "
          f"{folder}, which is then trained again."
        )
    ours = claim.config_of(name, workdir, seed, overrides).to_dict()
    stored = folder / "config.json"
    theirs = config.load(stored).to_dict() if stored.exists() else ours
    if found := config.differences(ours, theirs, but=ASIDE):
      raise ValueError(
        f"{folder} is done, but by another config ({'; '.join(found[:5])}); delete it, "
        "which is then trained again, or use another --workdir."
      )


def folder_of(workdir: str | Path, name: str, seed: int) -> Path:
  """The folder of a stage or an arm with one seed."""
  return Path(workdir) / f"{name}-{seed}"


def compare(first: Sequence[float], second: Sequence[float]) -> Difference:
  """By how much the first exceeds the second, paired, with a 95% interval.

  All is NaN where a value is infinite, such as the steps to what was never reached.
  """
  if not np.isfinite([*first, *second]).all():
    return Difference(math.nan, math.nan, math.nan)
  gaps = np.asarray(first, np.float64) - np.asarray(second, np.float64)
  mean, count = float(gaps.mean()), len(gaps)
  if count < 2:
    return Difference(mean, math.nan, math.nan)
  half = scipy.stats.t.ppf(0.975, count - 1) * gaps.std(ddof=1) / math.sqrt(count)
  return Difference(mean, mean - half, mean + half)


def summarize(claim: Claim, results: Mapping[str, Sequence[Numbers]]) -> str:
  """The claim's tables as Markdown: every arm's numbers, then the differences."""
  arms = list(claim.arms)
  lines = [f"**{claim.title}**", "", "| number | " + " | ".join(arms) + " |"]
  lines.append("|---" * (len(arms) + 1) + "|")
  for number in claim.report:
    cells = (
      _mean_and_spread([run[number] for run in results[arm] if number in run])
      for arm in arms
    )
    lines.append(f"| {number} | " + " | ".join(cells) + " |")
  lines += ["", "| difference | number | mean | 95% interval | verdict |",
            "|---|---|---|---|---|"]  # fmt: skip
  for first, second, number, *other in claim.compare:
    against = other[0] if other else number
    gap = compare(
      [run[number] for run in results[first]], [run[against] for run in results[second]]
    )
    sides = f"{number} - {against}" if other else number
    lines.append(
      f"| {first} - {second} | {sides} | {gap.mean:+.4f} | "
      f"[{gap.low:+.4f}, {gap.high:+.4f}] | {gap.verdict()} |"
    )
  return "\n".join(lines)


def write_json(path: Path, value: Any) -> None:
  """Writes JSON so that a reader sees the old file or the new one, never a part."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps(value, indent=2, sort_keys=True))
  os.replace(temporary, path)


def _mean_and_spread(values: Sequence[float]) -> str:
  if not values:
    return "-"
  if lost := sum(not math.isfinite(value) for value in values):
    return f"not reached by {lost} of {len(values)}"
  spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
  return f"{np.mean(values):.4f}{spread}"
