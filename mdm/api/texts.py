"""Runs of text models: writing, scoring, how fast they write, how steady they learn."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import ml_collections

from mdm.api import weights
from mdm.api.model import load
from mdm.api.scoring import TextScore
from mdm.api.writing import Sample
from mdm.decoding.settings import check_sampling
from mdm.evaluation import sampling_bench, times
from mdm.evaluation.tokenizers import text_settings
from mdm.evaluation.verbs import check_verb
from mdm.methods.base import Method
from mdm.training import build, config
from mdm.training.hardware import describe_hardware
from mdm.training.state import init_variables


def sample(
  run: str | Path,
  prompt: str | None = None,
  *,
  template: str | None = None,
  **settings: Any,
) -> list[Sample]:
  """Writes texts with a run's model.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    prompt: what the texts begin with.
    template: a text with holes, instead of a prompt; see `Model.infill`.
    **settings: as for `Model.sample`.

  Raises:
    ValueError: a prompt and a template; else as `Model.sample`.
  """
  if prompt is not None and template is not None:
    raise ValueError("a prompt and a template were given; give one of them.")
  model = load(run)
  if template is not None:
    return model.infill(template, **settings)
  return model.sample(prompt, **settings)


def score(
  run: str | Path, texts: str | Path | Sequence[str | Path], **settings: Any
) -> list[TextScore]:
  """How likely a run's model finds texts or files.

  Args:
    run: the run's folder, or the name or folder of exported weights.
    texts: one or many; a `Path` is a file.
    **settings: as for `Model.score`.
  """
  return load(run).score(texts, **settings)


def bench_sampler(
  path: str | Path,
  overrides: Iterable[str] = (),
  *,
  samplers: Sequence[str] = ("ancestral", "low_confidence"),
  steps: Sequence[int] = (64,),
  length: int | None = None,
  batch: int = 8,
  rounds: int = 7,
  top_p: float = 1.0,
) -> dict[str, Any]:
  """Speed of compiled samplers beside bare passes; see `evaluation/sampling_bench.py`.

  Args:
    path: a config, whose model gets fresh random weights, or a run.
    overrides: "section.key=value" each.
    samplers: of `decoding.settings.SAMPLERS`.
    steps: numbers of passes; first_hitting has its own.
    length: tokens of a canvas; None for the training's.
    batch: canvases filled at once.
    rounds: of timing.
    top_p: what the samplers draw from; 1 is all.

  Raises:
    ValueError: a model that cannot write, a sampler or setting that makes no sense.
  """
  is_run = not str(path).endswith(".py")
  cfg = weights.load_config(path, overrides) if is_run else config.load(path, overrides)
  method = build.build_method(cfg)
  check_verb(method, "sample")
  size = text_settings(cfg.data.to_dict()).length if length is None else length
  if min(batch, rounds, size) < 1:
    raise ValueError(
      f"batch = {batch}, rounds = {rounds} and length = {size} must be 1 or more."
    )
  chosen = sampling_bench.name_samplers(samplers, steps, top_p=top_p)
  for label, settings in chosen.items():
    check_sampling(label.split()[0], settings, length=size)
  variables = load(path).variables if is_run else _fresh_variables(cfg, method)
  rows = sampling_bench.bench_samplers(
    method, variables, chosen, length=size, batch=batch, rounds=rounds
  )
  return {
    "model": str(path),
    "length": size,
    "batch": batch,
    "top_p": top_p,
    "hardware": describe_hardware(),
    "rows": rows,
  }


def bench_times(
  path: str | Path,
  overrides: Iterable[str] = (),
  *,
  draws: int = 64,
  batch: int = 64,
) -> dict[str, Any]:
  """How a mask diffusion's loss and gradient vary by how its times are drawn.

  See `evaluation/times.py`.

  Args:
    path: a config, whose model gets fresh random weights, or a run.
    overrides: "section.key=value" each.
    draws: of times and masks for each way.
    batch: rows of the validation split, the same in every draw.

  Raises:
    ValueError: a model that draws no times; numbers out of range.
  """
  is_run = not str(path).endswith(".py")
  cfg = weights.load_config(path, overrides) if is_run else config.load(path, overrides)
  method = build.build_method(cfg)
  evaluation = times.TimeVariance(draws=draws, batch=batch)
  evaluate = evaluation.build(method, cfg.data.to_dict())
  variables = load(path).variables if is_run else _fresh_variables(cfg, method)
  return {
    "model": str(path),
    "hardware": describe_hardware(),
    "numbers": evaluate(variables),
  }


def _fresh_variables(
  cfg: ml_collections.ConfigDict, method: Method
) -> Mapping[str, Any]:
  """What a method starts from."""

  @jax.jit
  def make() -> dict[str, Any]:
    """Fresh variables without their axis names."""
    batch = weights.example_batch(cfg)
    return flax.core.meta.unbox(init_variables(method, batch, cfg.seed))

  return make()
