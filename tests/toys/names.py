"""Names in pages, looked up as a reader would: Python, configs, commands, files."""

import ast
import importlib
import re
from pathlib import Path

import flax.linen as nn

from mdm.api.model import Model
from mdm.data.datasets import FAMILIES
from mdm.methods.base import Method
from mdm.training import build, config
from mdm.training.origin import Origin
from toys import commands

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"(\w+)\.(\w+)(?:=(.+))?")
KINDS = {"mdm.methods": Method, "mdm.nn": nn.Module}


def check_name(name):
  """Fails unless `name` is something of this package."""
  if name.startswith("mdm "):
    commands.parse(name)
  elif verb := re.fullmatch(r"mdm\.load\(\w*\)\.(\w+)", name):
    assert callable(getattr(Model, verb[1], None)), f"{name}: models have no such verb"
  elif re.match(r"mdm(\.\w+)+$", name):
    find_in_python(name)
  elif re.match(r"[\w.]+/", name) or re.fullmatch(r"[A-Z_]+\.md", name):
    assert (ROOT / name).exists(), f"{name} is no file"
  elif name.partition("=")[0] in ("seed", "dtype"):
    config.load(ROOT / "configs/image/mae_folder.py", [name] if "=" in name else [])
  elif (found := SECTION.fullmatch(name)) and is_section(found[1]):
    check_key(found[1], found[2], found[3])
  else:
    check_class(name)


def find_in_python(name):
  """What "mdm.module.Class.attribute" means."""
  parts = name.split(".")
  for count in range(len(parts), 0, -1):
    try:
      found = importlib.import_module(".".join(parts[:count]))
    except ModuleNotFoundError:
      continue
    for part in parts[count:]:
      found = getattr(found, part)
    return found
  raise AssertionError(f"{name} cannot be imported")


def is_section(name):
  """Whether a config has such a section whose keys are known."""
  return name in config.SECTIONS or name in ("data", "init")


def check_key(section, key, value):
  """A key of a section; with a value, one that the section takes."""
  if section == "init":
    assert key == "except" or key in {f.name for f in build.fields_of(Origin)}
  elif section == "data":
    modules = [family.settings.split(":") for family in FAMILIES]
    classes = [getattr(importlib.import_module(m), c) for m, c in modules]
    assert any(key in {f.name for f in build.fields_of(c)} for c in classes), key
  else:
    cfg = config.base()
    assert key in cfg[section], f"{section} has no {key}"
    if value is not None:
      config.apply_override(cfg, f"{section}.{key}={value}")
    build.build_section(config.SECTIONS[section], cfg[section].to_dict(), section)


def check_class(name):
  """A method or network as a config names it, perhaps with settings in brackets."""
  dotted, _, rest = name.partition("(")
  call = ast.parse(f"f({rest}" if rest else "f()", mode="eval").body
  for room, kind in KINDS.items():
    if importlib.util.find_spec(f"{room}.{dotted.split('.')[0]}"):
      cls = build.find_class(dotted, room, "name", kind)
      known = {field.name for field in build.fields_of(cls)}
      unknown = {keyword.arg for keyword in call.keywords} - known
      assert not unknown, f"{name}: {cls.__name__} has no {sorted(unknown)}"
      return
  raise AssertionError(f"{name} is nothing of mdm")
