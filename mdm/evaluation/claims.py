"""Claims: A beats B, trained alike with several seeds, with a confidence interval.

A claim's config names a base config, its arms (overrides each), the seeds, and pairs of
arms to compare on an evaluation's number. Seeds are paired: a seed gives the same
initial parameters and data order in every arm, so the interval is that of the mean
paired difference (Student's t, n - 1 degrees of freedom).
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import scipy.stats

from mdm.training import config

Numbers = Mapping[str, float]
Trainer = Callable[[ml_collections.ConfigDict, Path], Numbers]


@dataclasses.dataclass(frozen=True)
class Claim:
  """What is compared.

  Attributes:
    title: the paper's claim in one sentence.
    base: path of the config that all arms share.
    arms: overrides ("section.key=value") of each arm, by its name.
    compare: (arm, arm, number): by how much the first exceeds the second. Where the
      two are different numbers, perhaps of one arm, a fourth entry names the second's.
    report: numbers to print, for every arm that has them.
    shared: overrides for every arm.
    seeds: how often each arm is trained.
    first_seed: of them; above 0 where the recipe was chosen on the seeds before.
  """

  title: str
  base: str
  arms: Mapping[str, Sequence[str]]
  compare: Sequence[Sequence[str]]
  report: Sequence[str]
  shared: Sequence[str] = ()
  seeds: int = 3
  first_seed: int = 0

  def __post_init__(self) -> None:
    for first, second, *_ in self.compare:
      for arm in (first, second):
        if arm not in self.arms:
          raise ValueError(config.unknown_key(arm, self.arms, "an arm of the claim"))


@dataclasses.dataclass(frozen=True)
class Difference:
  """A paired difference over seeds with its 95% confidence interval."""

  mean: float
  low: float
  high: float

  def verdict(self) -> str:
    """Whether the interval excludes 0, and on which side."""
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
  """Trains every arm with every seed; what is done already is read, not repeated.

  Args:
    claim: what is compared.
    workdir: one folder per arm and seed is made in it.
    trainer: trains a config in a folder and returns its evaluations' numbers.
    seeds: number of seeds, if not the claim's.
    overrides: applied to every arm last.
    say: told what is done next.
  """
  results: dict[str, list[Numbers]] = {arm: [] for arm in claim.arms}
  for seed in range(claim.first_seed, claim.first_seed + (seeds or claim.seeds)):
    for arm, settings in claim.arms.items():
      cfg = config.load(
        claim.base, [*claim.shared, *settings, *overrides, f"seed={seed}"]
      )
      folder = Path(workdir) / f"{arm}-{seed}"
      stored = folder / "numbers.json"
      say(f"{arm}, seed {seed}: {'done' if stored.exists() else folder}")
      if not stored.exists():
        write_json(stored, dict(trainer(cfg, folder)))
      results[arm].append(json.loads(stored.read_text()))
  return results


def compare(first: Sequence[float], second: Sequence[float]) -> Difference:
  """By how much the first exceeds the second, paired, with a 95% interval."""
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
  spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
  return f"{np.mean(values):.4f}{spread}"
