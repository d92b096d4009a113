"""Runs: training, evaluation, claims and benchmarks of configs."""

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from mdm.api.model import load
from mdm.api.weights import load_config
from mdm.evaluation.base import make_evaluators
from mdm.training import build, config, loop
from mdm.training.clock import Clock
from mdm.training.feed import Feed
from mdm.training.hardware import describe_hardware
from mdm.training.processes import agreed


def train(
  path: str | Path | ml_collections.ConfigDict,
  workdir: str | Path,
  *,
  overrides: Iterable[str] = (),
  feed: Feed | None = None,
  clock: Clock | None = None,
  is_profiled: bool = False,
) -> loop.Outcome:
  """Trains a config in a folder; the same call again resumes.

  Args:
    path: the config's file, or a config.
    workdir: the run's folder.
    overrides: "section.key=value" each.
    feed: batches, if not those of `config.data`.
    clock: runs already, from before the imports, say; None for one that begins now.
    is_profiled: whether steps 5 to 10 are traced, into `profile` of the folder.

  Raises:
    ValueError: a setting is wrong, or the folder belongs to another config.
    PeerError: another of several processes raises this.
  """
  clock = Clock() if clock is None else clock
  with agreed():
    cfg = _config(path, overrides)
    loop.read_settings(cfg)  # what is wrong in a config is said before data is read
    method = build.build_method(cfg)
    evaluators = make_evaluators(cfg, method)
  return loop.train(
    cfg,
    workdir,
    feed=feed,
    evaluators=evaluators,
    clock=clock,
    is_profiled=is_profiled,
  )


def evaluate(
  run: str | Path,
  *,
  step: int | None = None,
  overrides: Iterable[str] = (),
) -> dict[str, float]:
  """All numbers of a run's evaluations.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    step: which checkpoint; None for the newest.
    overrides: changes to `config.eval` or `config.data`.
  """
  model = load(run, step=step)
  cfg = load_config(run, overrides)
  numbers: dict[str, float] = {}
  for name, evaluator in make_evaluators(cfg, model.method).items():
    found = evaluator(model.variables)
    numbers |= {f"{name}/{key}": float(value) for key, value in found.items()}
  return numbers


@dataclasses.dataclass(frozen=True)
class ClaimReport:
  """A claim's tables as Markdown, and its numbers per arm and seed.

  Attributes:
    text: the tables.
    results: by arm, the numbers of each seed.
    record: what `mdm results --add` keeps, of which both can be made.
  """

  text: str
  results: Mapping[str, Any]
  record: Mapping[str, Any]


def claim(
  path: str | Path,
  workdir: str | Path,
  *,
  seeds: int | None = None,
  first_seed: int | None = None,
  overrides: Sequence[str] = (),
  report: str | Path | None = None,
) -> ClaimReport:
  """Trains a claim's stages and arms with seeds and compares the arms; again to resume.

  All is told on one HTML page as well.

  Args:
    path: the claim's file.
    workdir: folder of its runs.
    seeds: number of seeds, if not the claim's.
    first_seed: of them, if not the claim's: to train some seeds now and others later.
    overrides: applied to every stage and arm.
    report: the page; None for `report.html` in the folder.
  """
  from mdm.evaluation import claim_pages, claims, result_store

  def train_and_evaluate(
    cfg: ml_collections.ConfigDict, folder: Path
  ) -> dict[str, float]:
    """One arm with one seed."""
    outcome = train(cfg, folder)
    if outcome.stopped is not None:
      raise KeyboardInterrupt
    if not cfg.eval:  # a stage may be there for its weights alone
      return {}
    found = {k: v for k, v in outcome.metrics.items() if k.split("/")[0] in cfg.eval}
    return found or evaluate(folder)

  wanted = claims.load_claim(path)
  if first_seed is not None:
    wanted = dataclasses.replace(wanted, first_seed=first_seed)
  results = claims.run_claim(
    wanted, workdir, train_and_evaluate, seeds=seeds, overrides=overrides
  )
  record = result_store.describe_claim(
    wanted, path, results, hardware=describe_hardware()
  )
  curves = claim_pages.read_curves(wanted, workdir, seeds)
  page = claim_pages.render_page(wanted, record, curves)
  Path(report or Path(workdir) / "report.html").write_text(page, "utf-8")
  return ClaimReport(claims.summarize(wanted, results), results, record)


def bench_step(
  path: str | Path, overrides: Iterable[str] = (), *, steps: int = 30, rounds: int = 7
) -> dict[str, Any]:
  """Times of the loop and of the bare step for a config; see `evaluation/bench.py`."""
  from mdm.evaluation import bench

  with tempfile.TemporaryDirectory() as folder:
    return bench.bench_step(
      config.load(path, overrides), folder, steps=steps, rounds=rounds
    )


def bench_resume(
  path: str | Path, overrides: Iterable[str] = (), *, rounds: int = 3
) -> dict[str, Any]:
  """Seconds until a stopped training goes on; see `evaluation/resume_bench.py`."""
  from mdm.evaluation import resume_bench

  return resume_bench.bench_resume(path, overrides, rounds=rounds)


def bench_problem(
  method: str,
  overrides: Iterable[str] = (),
  *,
  steps: int = 1,
  rounds: int = 7,
  torch: str | None = None,
) -> dict[str, Any]:
  """Numbers of a method's step on its reference problem, beside PyTorch if wanted.

  Args:
    method: name of a method that has one, see `evaluation/steps/problems.py`.
    overrides: "section.key=value" each.
    steps: passes in a round.
    rounds: rounds of everything in turn.
    torch: an interpreter that has PyTorch and transformers; None for no peer.
  """
  from mdm.evaluation.steps import bench as step_bench
  from mdm.evaluation.steps import problems as step_problems

  problem = step_problems.find_problem(method)
  cfg = step_problems.problem_config(problem, overrides)
  return step_bench.bench_problem(problem, cfg, steps=steps, rounds=rounds, torch=torch)


def bench_rendering() -> dict[str, float]:
  """How many words of each style one core renders in a second."""
  from mdm.data.rendering import recipe
  from mdm.data.rendering.settings import STYLES, RenderSettings

  speeds: dict[str, float] = {}
  for style in STYLES:
    found = recipe.rendering_speed(RenderSettings(style=style))
    speeds |= {f"rendering/{style}_{name}": float(v) for name, v in found.items()}
  return speeds


def bench_frontend(*, rounds: int = 7) -> dict[str, float]:
  """Seconds of audio that become log-mel features in a second, of one core on a CPU."""
  from mdm.evaluation import frontend_bench

  return frontend_bench.bench_frontend(rounds=rounds)


def bench_speech(
  path: str | Path, overrides: Iterable[str] = (), *, rounds: int = 3
) -> dict[str, Any]:
  """What buckets and two losses save on speech; see `evaluation/speech_bench.py`.

  Args:
    path: config of a method on speech whose data are built.
    overrides: "section.key=value" each.
    rounds: rounds of everything in turn.
  """
  from mdm.evaluation import speech_bench

  return speech_bench.bench_speech(config.load(path, overrides), rounds=rounds)


def _config(
  path: str | Path | ml_collections.ConfigDict, overrides: Iterable[str]
) -> ml_collections.ConfigDict:
  if isinstance(path, ml_collections.ConfigDict):
    return path
  return config.load(path, overrides)
