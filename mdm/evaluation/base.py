"""What an evaluation is: settings that make a function from variables to numbers.

`config.eval` maps a name to an evaluation: the class (`name`, a module of
`mdm.evaluation`) and its settings. The loop and the `eval` command call what `build`
returns, and log its numbers as "<name>/<number>". Keys under `data` in an evaluation
replace those of `config.data`, to measure on other data than was trained on.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from mdm.methods.base import Method
from mdm.training import build

Variables = Mapping[str, Any]
Evaluator = Callable[[Variables], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Settings of an evaluation; subclasses are frozen dataclasses."""

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """A function from variables to numbers by name.

    Args:
      method: the method whose variables will be given.
      data: `config.data`.
    """
    raise NotImplementedError


def make_evaluators(
  cfg: ml_collections.ConfigDict, method: Method
) -> dict[str, Evaluator]:
  """The evaluators of `config.eval`, by name.

  Raises:
    ValueError: an unknown evaluation or setting.
  """
  evaluators = {}
  for name, spec in cfg.eval.to_dict().items():
    evaluation = _make_evaluation(name, spec)
    data = cfg.data.to_dict()
    if override := spec.get("data"):
      data |= override
    evaluators[name] = evaluation.build(method, data)
  return evaluators


def _make_evaluation(name: str, spec: Any) -> Evaluation:
  where = f"eval.{name}"
  if not isinstance(spec, Mapping):
    raise ValueError(f"{where} = {spec!r} is no evaluation; write dict(name=..., ...).")
  settings = {key: value for key, value in spec.items() if key not in ("name", "data")}
  cls = build.find_class(
    spec.get("name"), "mdm.evaluation", f"{where}.name", Evaluation
  )
  return build.build_section(cls, settings, where)
