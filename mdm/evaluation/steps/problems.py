"""Reference problems: what a method's training step is measured on, without data.

A problem is a module of this folder with a `PROBLEM` in it: a config of published size,
a batch of noise, what PyTorch's process makes of the same settings, and parts of the
method that are timed by themselves.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.methods.base import Method
from mdm.training import config

MODULES = {
  "image.mae": "mdm.evaluation.steps.mae",
  "speech.w2v_bert": "mdm.evaluation.steps.w2v_bert",
}

Batch = Mapping[str, jax.Array]


class Part(NamedTuple):
  """A part of a method whose cost should follow from how much it is given.

  Attributes:
    name: what the table calls it.
    share: of what the first part of a problem is given, in (0, 1].
    value: parameters and batch to a number, to be differentiated.
  """

  name: str
  share: float
  value: Callable[[Any, Batch], Float[Array, ""]]


class StepProblem(NamedTuple):
  """What a method's step is measured on.

  Attributes:
    make_config: the config, unlocked; its `data` says no more than shapes.
    draw_batch: a batch of noise for a config.
    peer: the file beside this one that defines `make_model` for PyTorch's process.
    describe: plain settings from which the peer makes the same model; ValueError where
      it has no such model.
    parts: parts to time, the whole first.
  """

  make_config: Callable[[], ml_collections.ConfigDict]
  draw_batch: Callable[[ml_collections.ConfigDict], dict[str, np.ndarray]]
  peer: str
  describe: Callable[[Method, ml_collections.ConfigDict], dict[str, Any]]
  parts: Callable[[Method, ml_collections.ConfigDict], Sequence[Part]]


def find_problem(name: str) -> StepProblem:
  """The problem that a method's name stands for.

  Raises:
    ValueError: there is none for it.
  """
  check_choice("method", name, tuple(MODULES))
  problem: StepProblem = importlib.import_module(MODULES[name]).PROBLEM
  return problem


def problem_config(
  problem: StepProblem, overrides: Iterable[str]
) -> ml_collections.ConfigDict:
  """The problem's config with overrides, "section.key=value" each."""
  cfg = problem.make_config()
  for override in overrides:
    config.apply_override(cfg, override)
  return cfg.lock()
