"""From names to objects: every key, type and name is checked before anything runs."""

from typing import Literal

import jax.numpy as jnp
import pytest
from toys import masked

from mdm.methods.base import Method
from mdm.training import build
from mdm.training.settings import Optimizer, Train


def toy(**changes):
  cfg = masked.get_config()
  for name, value in changes.items():
    cfg[name] = value
  return cfg


def refused(message, **changes):
  with pytest.raises(ValueError, match=message):
    build.build_method(toy(**changes))


def test_a_method_is_built_with_the_network_of_the_config():
  method = build.build_method(toy(model={"name": "toys.masked.Mixer", "width": 8}))
  assert isinstance(method, masked.ToyMasked)
  assert (method.network.width, method.network.depth) == (8, 2)


def test_networks_may_be_given_by_slot():
  method = build.build_method(toy(model={"network": {"name": "toys.masked.Mixer"}}))
  assert method.network == masked.Mixer()


def test_names_and_settings_that_do_not_exist_lead_to_the_nearest():
  name = {"name": "toys.masked.ToyMasked"}
  refused("'method.mask_ration' is not a setting of ToyMasked; did you mean method",
          method={**name, "mask_ration": 1.0})  # fmt: skip
  refused("'model.netwrok' is not a network of ToyMasked; did you mean network",
          model={"netwrok": {"name": "toys.masked.Mixer"}})  # fmt: skip
  refused("'model.network.widht' is not a setting of Mixer; did you mean model",
          model={"name": "toys.masked.Mixer", "widht": 3})  # fmt: skip
  refused("'transfomer' is not a model.network.name; did you mean transformer",
          model={"name": "transfomer"})  # fmt: skip
  refused("'nowhere.at_all' is not a method.name", method={"name": "nowhere.at_all"})


def test_what_is_missing_is_named():
  refused("method.name is missing; name a module of mdm.methods", method={})
  refused("config.model lacks network; ToyMasked needs it", model={})
  refused("model.network = 3 is no network", model={"network": 3})


@pytest.mark.parametrize(
  ("key", "value", "kind"),
  [("mask_ratio", "half", "float"), ("mask_ratio", True, "float"),
   ("vocab", 1.5, "int"), ("two_terms", 1, "bool"), ("frozen", None, "str")],
)  # fmt: skip
def test_a_setting_of_a_wrong_type_is_refused(key, value, kind):
  method = {"name": "toys.masked.ToyMasked", key: value}
  refused(
    f"method.{key} = {value!r} is of the wrong type; it must be {kind}", method=method
  )


def test_a_whole_number_serves_as_a_float():
  section = build.build_section(Optimizer, {"learning_rate": 1}, "optimizer")
  assert section.learning_rate == 1.0
  assert isinstance(section.learning_rate, float)


def test_sections_are_checked_like_methods():
  with pytest.raises(
    ValueError, match=r"'train.stepz' is not .*did you mean train\.steps"
  ):
    build.build_section(Train, {"stepz": 3}, "train")
  with pytest.raises(ValueError, match=r"train.on_nan = 'go' is of the wrong type"):
    build.build_section(Train, {"on_nan": "go"}, "train")


@pytest.mark.parametrize(
  ("value", "kind", "fits"),
  [(1, int | str, True), ("x", int | str, True), (1.5, int | str, False),
   ("a", Literal["a", "b"], True), ("c", Literal["a", "b"], False),
   ([1, 2], tuple[int, ...], True), (["x"], tuple[int, ...], False), (3, tuple, False),
   (None, int | None, True), (True, int, False), (2, float, True)],
)  # fmt: skip
def test_values_match_annotations(value, kind, fits):
  assert build.matches(value, kind) == fits


def test_the_compute_dtype_goes_to_networks_and_auto_means_float32_on_a_cpu():
  assert build.compute_dtype("auto") == jnp.float32
  assert build.compute_dtype("auto", "tpu") == jnp.bfloat16
  assert build.compute_dtype("auto", "cpu") == jnp.float32
  assert build.compute_dtype("bfloat16") == jnp.bfloat16
  with pytest.raises(
    ValueError, match="dtype = 'half' is not auto, float32 or bfloat16"
  ):
    build.compute_dtype("half")
  network = build.build_network(
    {"name": "transformer.Transformer", "depth": 1, "heads": 2},
    "m",
    jnp.dtype("bfloat16"),
  )
  assert network.dtype == jnp.bfloat16


def test_a_class_is_found_by_module_by_name_and_in_other_packages():
  found = build.find_class("toys.masked.Frozen", "mdm.methods", "method.name", Method)
  assert found is masked.Frozen
  with pytest.raises(
    ValueError, match=r"defines ToyMasked, Frozen; add the class's name"
  ):
    build.find_class("toys.masked", "mdm.methods", "method.name", Method)


def test_an_import_that_fails_inside_a_module_is_not_taken_for_a_wrong_name(
  tmp_path, monkeypatch
):
  (tmp_path / "torn.py").write_text("import not_installed_anywhere\n")
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
    build.find_class("torn", "mdm.methods", "method.name", Method)
