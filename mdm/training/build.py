"""From names in a config to objects: finds a class, checks its settings, builds it.

`config.method.name` is a module path below `mdm.methods` ("diffusion.mdiff4str"), a
network's name a path below `mdm.nn` ("columns", "transformer.CrossDecoder"), or any
importable module's full path, so a fork or another package adds a file and no registry.
The fields of the class are the schema: an unknown key, a wrong type or a missing
setting is an error that names the key and the nearest known one.
"""

import dataclasses
import importlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import ml_collections

from mdm.methods.base import Method
from mdm.training import config as configs

T = TypeVar("T")
LINEN_FIELDS = ("parent", "name")


def build_section(section: type[T], given: Mapping[str, Any], name: str) -> T:
  """A section's settings from its config, every key and type checked."""
  check_settings(section, given, name)
  return section(**_fitted(section, given))


def build_method(cfg: ml_collections.ConfigDict, platform: str | None = None) -> Method:
  """The method that `config.method` names, with the networks of `config.model`.

  Args:
    platform: that it is for, "tpu"; None for this machine's.

  Raises:
    ValueError: an unknown method, network or setting; a setting of a wrong type.
  """
  settings = _plain(cfg.method)
  cls = find_class(settings.pop("name", None), "mdm.methods", "method.name", Method)
  networks = _plain(cfg.model)
  slots = [f.name for f in fields_of(cls) if _is_module(f.type)]
  if "name" in networks and len(slots) == 1:
    networks = {slots[0]: networks}
  dtype = compute_dtype(cfg.dtype, platform)
  for name, spec in networks.items():
    if name not in slots:
      known = slots or ["(none)"]
      raise ValueError(
        configs.unknown_key(f"model.{name}", known, f"a network of {cls.__name__}")
      )
    settings[name] = build_network(spec, f"model.{name}", dtype)
  if missing := [slot for slot in slots if slot not in settings]:
    raise ValueError(
      f"config.model lacks {', '.join(missing)}; {cls.__name__} needs it."
    )
  check_settings(cls, settings, "method")
  return cls(**_fitted(cls, settings))


def build_network(spec: Any, where: str, dtype: jnp.dtype) -> Any:
  """A network of `mdm.nn` from its name and fields; nested networks likewise."""
  if not isinstance(spec, Mapping):
    raise ValueError(f"{where} = {spec!r} is no network; write dict(name=..., ...).")
  settings = dict(spec)
  cls = find_class(
    settings.pop("name", None), "mdm.nn", f"{where}.name", _module_class()
  )
  for key, value in settings.items():
    if isinstance(value, Mapping) and "name" in value:
      settings[key] = build_network(value, f"{where}.{key}", dtype)
  if any(f.name == "dtype" for f in fields_of(cls)):
    settings["dtype"] = jnp.dtype(settings.get("dtype", dtype))
  check_settings(cls, settings, where)
  return cls(**_fitted(cls, settings))


def compute_dtype(name: str, platform: str | None = None) -> jnp.dtype:
  """The dtype that networks compute in: "auto" is bfloat16 on TPU and GPU.

  Args:
    platform: that programs are for; None for this machine's.
  """
  if name == "auto":
    is_cpu = (platform or jax.default_backend()) == "cpu"
    name = "float32" if is_cpu else "bfloat16"
  if name not in ("float32", "bfloat16"):
    raise ValueError(f"dtype = {name!r} is not auto, float32 or bfloat16.")
  return jnp.dtype(name)


def find_class(name: str | None, room: str, where: str, kind: type) -> type:
  """The class that `name` means: a module that defines one, or module and class.

  Of several classes in a module, the one of the module's name is meant.

  Raises:
    ValueError: no such module (the error lists the nearest), or not one class in it.
  """
  if not isinstance(name, str):
    raise ValueError(f"{where} is missing; name a module of {room}.")
  module_name, _, last = name.rpartition(".")
  for path, wanted in ((name, None), (module_name, last)):
    for full in (f"{room}.{path}", path):
      module = _import(full) if path else None
      if module is not None and (wanted is None or hasattr(module, wanted)):
        return _class_in(module, wanted, where, kind)
  raise ValueError(configs.unknown_key(name, modules_of(room), f"a {where}"))


def modules_of(room: str) -> list[str]:
  """Names of the modules below a package, as a config would write them."""
  root = Path(str(importlib.import_module(room).__file__)).parent
  paths = (p.relative_to(root).with_suffix("") for p in root.rglob("*.py"))
  return sorted(".".join(p.parts) for p in paths if p.name not in ("__init__", "base"))


def fields_of(cls: type) -> list[dataclasses.Field]:
  """The settings of a dataclass or Linen module, without Linen's own fields."""
  own = LINEN_FIELDS if _is_module(cls) else ()
  return [f for f in dataclasses.fields(cls) if f.name not in own]


def check_settings(cls: type, given: Mapping[str, Any], where: str) -> None:
  """Raises ValueError for an unknown key, a missing one or one of a wrong type."""
  known = {f.name: f for f in fields_of(cls)}
  for key, value in given.items():
    if key not in known:
      raise ValueError(
        configs.unknown_key(
          f"{where}.{key}",
          [f"{where}.{k}" for k in known],
          f"a setting of {cls.__name__}",
        )
      )
    if not matches(value, known[key].type):
      raise ValueError(
        f"{where}.{key} = {value!r} is of the wrong type; it must be "
        f"{_type_name(known[key].type)}."
      )
  for key, field in known.items():
    needed = (
      field.default is dataclasses.MISSING
      and field.default_factory is dataclasses.MISSING
    )
    if needed and key not in given:
      raise ValueError(f"{where}.{key} is missing; {cls.__name__} needs it.")


def matches(value: Any, kind: Any) -> bool:
  """Whether a config value fits an annotation; what is not plain is let through."""
  origin, args = typing.get_origin(kind), typing.get_args(kind)
  if origin in (typing.Union, types.UnionType):
    return any(matches(value, arg) for arg in args)
  if origin is typing.Literal:
    return value in args
  if kind in (None, type(None)):
    return value is None
  if origin in (tuple, list) or kind in (tuple, list):
    inner = args[:1] if args[-1:] == (...,) or origin is list else ()
    return isinstance(value, tuple | list) and all(
      matches(v, arg) for v in value for arg in inner
    )
  if origin is Mapping:
    return isinstance(value, Mapping)
  if kind is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if kind in (bool, str):
    return isinstance(value, kind)
  return True


def _import(name: str) -> types.ModuleType | None:
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    if error.name and (name == error.name or name.startswith(error.name + ".")):
      return None
    raise


def _class_in(
  module: types.ModuleType, wanted: str | None, where: str, kind: type
) -> type:
  if wanted is not None:
    return getattr(module, wanted)
  found = [
    value
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, kind)
    and value.__module__ == module.__name__ and not name.startswith("_")
  ]  # fmt: skip
  own = module.__name__.rpartition(".")[2].replace("_", "")
  found = [c for c in found if c.__name__.lower() == own] or found
  if len(found) != 1:
    names = ", ".join(c.__name__ for c in found) or "none"
    raise ValueError(
      f"{where}: {module.__name__} defines {names}; add the class's name."
    )
  return found[0]


def _module_class() -> type:
  return Method.__mro__[1]  # flax.linen.Module, without importing Linen here


def _is_module(kind: Any) -> bool:
  return isinstance(kind, type) and issubclass(kind, _module_class())


def _type_name(kind: Any) -> str:
  return getattr(kind, "__name__", None) or str(kind).replace("typing.", "")


def _plain(section: Any) -> dict[str, Any]:
  return section.to_dict() if hasattr(section, "to_dict") else dict(section)


def _fitted(cls: type, settings: Mapping[str, Any]) -> dict[str, Any]:
  """The settings as the class keeps them: lists as tuples, 1 for a float as 1.0."""
  kinds = {f.name: f.type for f in fields_of(cls)}

  def fit(value: Any, kind: Any) -> Any:
    """A value as its field takes it."""
    if isinstance(value, list | tuple):
      return tuple(fit(v, None) for v in value)
    return float(value) if kind is float else value

  return {key: fit(value, kinds[key]) for key, value in settings.items()}
