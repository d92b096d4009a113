"""Configs: one Python file each, locked, merged over defaults, overridden by `--set`.

A config file defines `get_config()` and starts from `base()`. Sections it leaves out
keep their defaults. Sections are checked against the signatures they configure
(`build.py`) before anything is compiled.
"""

import ast
import dataclasses
import difflib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from mdm.training import settings

SECTIONS = {
  "train": settings.Train,
  "optimizer": settings.Optimizer,
  "sharding": settings.Sharding,
}
OPEN_SECTIONS = ("method", "model", "data", "eval", "init")
RESUMABLE = ("train.steps", "train.log_every", "train.eval_every", "train.keep",
             "train.checkpoint_every", "train.on_nan", "train.on_alarm",
             "train.on_corrupt", "train.threads", "sharding", "eval",
             "data.data_dir", "data.on_corrupt")  # fmt: skip


def base() -> ml_collections.ConfigDict:
  """The defaults that a config file starts from, unlocked."""
  cfg = ml_collections.ConfigDict({"seed": 0, "dtype": "auto"}, type_safe=False)
  for name, section in SECTIONS.items():
    cfg[name] = dataclasses.asdict(section())
  for name in OPEN_SECTIONS:
    cfg[name] = {}
  return cfg


def load(path: str | Path, overrides: Iterable[str] = ()) -> ml_collections.ConfigDict:
  """Reads a config file (`.py`, or a run's `config.json`) and applies overrides.

  Args:
    path: the file; a run's folder stands for the config stored in it.
    overrides: "section.key=value" each; the value is a Python literal or a word.

  Raises:
    ValueError: no such file, no `get_config` in it, an unknown section or override.
  """
  path = find(path)
  given = _read_json(path) if path.suffix == ".json" else read_python(path)
  cfg = base()
  for name, value in given.items():
    if name not in cfg:
      raise ValueError(unknown_key(name, cfg.keys(), f"a section of {path}"))
    if isinstance(value, Mapping):
      _fill(cfg[name], value)
    else:
      cfg[name] = value
  for override in overrides:
    apply_override(cfg, override)
  return cfg.lock()


def find(path: str | Path) -> Path:
  """The config file that `path` means.

  That is a path, or else the name of a config of the package: "diffusion/md4_chars".

  Raises:
    ValueError: it does not exist; the error lists configs of like name.
  """
  path = Path(path)
  if path.is_dir():
    path = path / "config.json"
  if path.is_file():
    return path
  home = configs_folder()
  name = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
  if (ours := home / name.with_suffix(".py")).is_file():
    return ours
  known = [str(p) for p in Path("configs").rglob("*.py")] or [
    str(p.relative_to(home).with_suffix("")) for p in home.rglob("*.py")
  ]
  near = difflib.get_close_matches(str(path), sorted(known), n=3, cutoff=0.4)
  hint = f" Nearest: {', '.join(near)}." if near else ""
  raise ValueError(
    f"config {path} does not exist; give a .py file, a run, or one that comes with the "
    f"package by its name.{hint}"
  )


def configs_folder() -> Path:
  """Where the package's own configs are: in it, or in a checkout beside it."""
  package = Path(__file__).parents[1]
  inside = package / "configs"
  return inside if inside.is_dir() else package.parent / "configs"


def to_json(cfg: ml_collections.ConfigDict) -> str:
  """The config as JSON text, keys sorted, as stored in a run."""
  return json.dumps(cfg.to_dict(), indent=2, sort_keys=True)


def differences(
  ours: Mapping[str, Any],
  theirs: Mapping[str, Any],
  prefix: str = "",
  but: Iterable[str] = RESUMABLE,
) -> list[str]:
  """Dotted keys on which two configs differ, `but` some: what a resume may change."""
  found = []
  for key in sorted(set(ours) | set(theirs)):
    name = prefix + key
    a, b = ours.get(key), theirs.get(key)
    if name in but:
      continue
    if isinstance(a, Mapping) and isinstance(b, Mapping):
      found += differences(a, b, name + ".", but)
    elif json.loads(json.dumps(a)) != json.loads(json.dumps(b)):
      found.append(f"{name}: {b!r} there, {a!r} here")
  return found


def unknown_key(name: str, known: Iterable[str], what: str) -> str:
  """The sentence for a name that is not among the known ones, with the nearest."""
  known = sorted(known)
  near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
  hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
  return f"{name!r} is not {what}; {hint}"


def _read_json(path: Path) -> dict[str, Any]:
  try:
    given = json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(
      f"{path} is not valid JSON ({error}); restore or delete it."
    ) from None
  if not isinstance(given, dict):
    raise ValueError(
      f"{path} is no config: it holds {type(given).__name__}, not sections by name; "
      "restore or delete it."
    )
  return given


def read_python(path: Path) -> dict[str, Any]:
  """What a Python file's `get_config()` returns, as a plain dict.

  Raises:
    ValueError: the file is no Python file or defines no such function.
  """
  spec = importlib.util.spec_from_file_location(f"mdm_config_{path.stem}", path)
  if spec is None or spec.loader is None:
    raise ValueError(f"config {path} is no Python file; name one that ends in .py.")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise ValueError(f"config {path} defines no get_config(); add the function.")
  given = module.get_config()
  return given.to_dict() if hasattr(given, "to_dict") else dict(given)


def _fill(section: ml_collections.ConfigDict, given: Mapping[str, Any]) -> None:
  for key, value in given.items():
    section[key] = value


def apply_override(cfg: ml_collections.ConfigDict, override: str) -> None:
  """Sets one "section.key=value" in an unlocked config.

  Raises:
    ValueError: it has no value, or names no section or key.
  """
  name, equals, text = override.partition("=")
  if not equals:
    raise ValueError(f"--set {override} has no value; write --set section.key=value.")
  *parents, key = name.strip().split(".")
  node: Any = cfg
  for parent in parents:
    if not isinstance(node, ml_collections.ConfigDict) or parent not in node:
      raise ValueError(unknown_key(parent, node, f"a section (--set {override})"))
    node = node[parent]
  if not isinstance(node, ml_collections.ConfigDict):
    raise ValueError(
      f"--set {override}: {'.'.join(parents)} is a value, not a section."
    )
  if not parents and key not in cfg:
    raise ValueError(unknown_key(key, cfg.keys(), f"a config key (--set {override})"))
  if key in node:  # set over, a whole number or truth value would become a float
    del node[key]
  node[key] = parse_value(text.strip())


def as_overrides(section: str, settings: Mapping[str, Any]) -> list[str]:
  """Settings of a section ("model.encoder") as `apply_override` takes them."""
  return [f"{section}.{key}={value!r}" for key, value in settings.items()]


def parse_value(text: str) -> Any:
  """A Python literal, or true/false/null as in JSON, or the text itself."""
  words = {"true": True, "false": False, "null": None, "none": None}
  if text.lower() in words:
    return words[text.lower()]
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
  return list(value) if isinstance(value, tuple) else value
