"""Parameters from elsewhere: what is read, what is refused, what a resume does."""

import json
import shutil

import flax.linen as nn
import jax
import numpy as np
import pytest
from toys import masked, rig

from mdm.interop import safetensors
from mdm.training import loop, sharding
from mdm.training.checkpoint import open_checkpoints
from mdm.training.origin import fingerprint, read_origin, read_variables
from mdm.training.settings import Sharding
from mdm.training.state import leaf_paths, set_parameters

NORMED = {"name": "toys.masked.Mixer", "norm": "batch"}


class Stacked(nn.Module):
  """A network whose layers `scan` has stacked."""

  width: int = 32

  @nn.compact
  def __call__(self, x, *, train):
    kernel = self.param("blocks/kernel", nn.initializers.ones, (2, 32, 32))
    return x @ kernel[0] @ kernel[1]


def config_from(run, *, model=None, **settings):
  """The toy's config, started from a run, other layers' sizes if asked."""
  cfg = masked.get_config()
  cfg.init = {"run": str(run), **settings}
  cfg.seed = 7  # parameters of another seed, unless they are read
  if model:
    cfg.model = model
  return cfg


@pytest.fixture(scope="module")
def averaged(whole):
  """What the source's averages are, by path."""
  found = open_checkpoints(whole, reads_only=True)
  variables, _ = found.restore_variables()
  found.close()
  return {n: np.asarray(x) for n, x in leaf_paths(variables["params"]).items()}


@pytest.fixture(scope="module")
def exported(whole, averaged, tmp_path_factory):
  """The source as exported weights."""
  folder = tmp_path_factory.mktemp("exported")
  shutil.copy(whole / "config.json", folder)
  tree = {"params": averaged}
  safetensors.save_variables(tree, folder / "model.safetensors", {"step": "20"})
  return folder


def first_state(workdir, cfg):
  """A prepared run and the state before its first step."""
  run = rig.prepare(workdir, cfg.lock())
  try:
    with jax.set_mesh(run.mesh):
      return run, loop.start_state(run)
  finally:
    run.checkpoints.close()


@pytest.mark.parametrize("kind", ["run", "weights"])
def test_everything_is_read_and_averages_start_equal(
  kind, whole, exported, averaged, tmp_path
):
  source = whole if kind == "run" else exported
  run, state = first_state(tmp_path / "run", config_from(source))
  for tree in (state.params, state.ema):
    assert rig.differing(rig.leaves(tree), averaged) == []
  assert int(state.step) == 0
  moments = rig.leaves(state.opt_state)
  assert all((x == 0).all() for x in moments.values())
  note = json.loads((run.workdir / "init.json").read_text())
  assert (note["step"], note["run"]) == (20, str(source))
  assert note["fingerprint"] == fingerprint(averaged)
  assert note["parameters"] == sum(x.size for x in averaged.values())


def test_only_the_named_parts_are_read(whole, averaged, tmp_path):
  cfg = config_from(whole, parts={"network": "network"}, **{"except": ["*/norm/*"]})
  run, state = first_state(tmp_path / "run", cfg)
  fresh = rig.leaves(run.make_state().params)
  found = rig.leaves(state.params)
  assert set(rig.differing(found, averaged)) == {
    n for n in rig.differing(fresh, averaged) if "block" not in n
  }
  assert {n.split("/")[1] for n in rig.differing(found, fresh)} == {
    "block_0", "block_1"
  }  # fmt: skip


def test_a_part_may_have_another_name_there(whole, averaged, tmp_path):
  cfg = config_from(whole, parts={"network/block_0": "network/block_1"})
  _, state = first_state(tmp_path / "run", cfg)
  np.testing.assert_array_equal(
    state.params["network"]["block_0"]["kernel"], averaged["network/block_1/kernel"]
  )


def test_every_difference_is_told_at_once_before_the_folder_is_taken(whole, tmp_path):
  wide = {"name": "toys.masked.Mixer", "width": 16, "depth": 3}
  with pytest.raises(ValueError, match="does not fit") as error:
    first_state(tmp_path / "run", config_from(whole, model=wide))
  text = str(error.value)
  assert "missing (2): network/block_2/bias, network/block_2/kernel" in text
  assert "embed/embedding is [17, 32] there, embed/embedding [17, 16] here" in text
  assert "init.except" in text and "unexpected" not in text
  assert not (tmp_path / "run").exists()


def test_what_they_have_beyond_ours_is_unexpected_unless_left_out(whole, tmp_path):
  small = {"name": "toys.masked.Mixer", "depth": 1}
  with pytest.raises(ValueError, match=r"unexpected \(2\): network/block_1/bias, "):
    first_state(tmp_path / "run", config_from(whole, model=small))
  left = {"except": ["network/block_1/*"]}
  _, state = first_state(tmp_path / "run", config_from(whole, model=small, **left))
  assert "block_1" not in state.params["network"]


def test_stacked_layers_against_unrolled_ones_say_so(whole, tmp_path):
  stacked = {"name": f"{__name__}.Stacked"}
  cfg = config_from(whole, model=stacked, parts={"network": "network"})
  with pytest.raises(ValueError, match="stacked by scan on one side only: set scan"):
    first_state(tmp_path / "run", cfg)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"run": 3}, r"init\.run = 3 is of the wrong type"),
    ({"run": "x", "part": {}}, r"'init\.part' is not .*did you mean init\.parts"),
    ({"run": "x", "parts": {}}, "reads nothing"),
    ({"run": "x", "parts": {"a": 1}}, r"init\.parts = .* is no map"),
    ({"run": "x", "parts": {"a": "a", "a/b": "c"}}, "'a/b' lies below 'a'"),
    ({"run": "x", "except": "norm"}, r"init\.except = 'norm' is no list"),
    ({"run": "x", "leave": ["norm"]}, r"write init\.except"),
    ({"parts": {"a": "a"}}, r"init\.run is missing"),
  ],
)
def test_a_wrong_section_is_named_with_its_remedy(settings, message):
  with pytest.raises(ValueError, match=message):
    read_origin(settings)


def test_no_section_reads_nothing():
  assert read_origin({}) is None


def test_a_prefix_that_names_nothing_of_ours_leads_to_the_nearest(whole, tmp_path):
  cfg = config_from(whole, parts={"netwrk": "network"})
  with pytest.raises(ValueError, match=r"'netwrk' is not a prefix .* mean network "):
    first_state(tmp_path / "run", cfg)


def test_a_missing_source_is_told_before_the_folder_is_taken(tmp_path):
  with pytest.raises(ValueError, match="is no run"):
    first_state(tmp_path / "run", config_from(tmp_path / "nowhere"))
  assert not (tmp_path / "run").exists()


def test_exported_weights_of_another_step_are_refused(exported):
  with pytest.raises(ValueError, match=r"is of step 20 alone; leave out init\.step"):
    read_variables(exported, 5)


def test_an_earlier_checkpoint_may_be_named(whole):
  early, step = read_variables(whole, 5)
  late, _ = read_variables(whole, None)
  assert step == 5
  assert set(rig.differing(early, late)) == set(early)


def test_a_resumed_run_ends_bit_for_bit_the_same_without_its_source(whole, tmp_path):
  source = shutil.copytree(whole, tmp_path / "source")
  cfg = config_from(source)
  cfg.train.update(steps=4, checkpoint_every=2)
  cfg.lock()
  feed = masked.make_feed(16)
  ended = loop.train(cfg, tmp_path / "run", feed=feed)
  cut = shutil.copytree(tmp_path / "run", tmp_path / "cut")
  shutil.rmtree(cut / "checkpoints" / "4")
  shutil.rmtree(source)
  again = loop.train(cfg, cut, feed=feed)
  assert rig.differing(rig.leaves(ended.state), rig.leaves(again.state)) == []


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
  """A folder and the last state of a network with a norm of running means."""
  cfg = config_from("", model=NORMED)
  cfg.init = {}
  cfg.train.update(steps=3, eval_every=0)
  folder = tmp_path_factory.mktemp("normed") / "run"
  return folder, loop.train(cfg.lock(), folder, feed=masked.make_feed(16)).state


def test_running_means_come_with_the_parameters_and_from_weights_alike(
  normed, tmp_path
):
  folder, wanted = normed
  weights = tmp_path / "weights"
  weights.mkdir()
  shutil.copy(folder / "config.json", weights)
  safetensors.save_variables(wanted.variables(), weights / "model.safetensors")
  for name, source in {"run": folder, "weights": weights}.items():
    run, state = first_state(tmp_path / f"to_{name}", config_from(source, model=NORMED))
    found = rig.leaves(state.variables())
    assert rig.differing(found, rig.leaves(wanted.variables())) == []
    fresh = rig.leaves(run.make_state().collections)
    assert rig.differing(fresh, rig.leaves(state.collections)) == sorted(fresh)
    note = json.loads((run.workdir / "init.json").read_text())
    assert note["others"] == 64 and note["fingerprint"] != fingerprint(
      rig.leaves(state.params)
    )


def test_running_means_outside_of_the_prefixes_begin_anew(normed, tmp_path):
  for settings in (
    {"parts": {"network/block_0": "network/block_0"}},
    {"except": ["batch_stats/*"]},
    {"except": ["network/norm/*"]},
  ):
    cfg = config_from(normed[0], model=NORMED, **settings)
    run, state = first_state(tmp_path / str(settings)[2:8], cfg)
    fresh = rig.leaves(run.make_state().collections)
    assert rig.differing(fresh, rig.leaves(state.collections)) == []
    shutil.rmtree(run.workdir)


def test_running_means_that_one_side_lacks_are_told(normed, whole, tmp_path):
  lost = r"missing \(2\): batch_stats/network/norm/mean, batch_stats/network/norm/var;"
  with pytest.raises(ValueError, match=lost):
    first_state(tmp_path / "run", config_from(whole, model=NORMED))
  spare = r"unexpected \(2\): batch_stats/network/norm/mean, "
  with pytest.raises(ValueError, match=spare):
    first_state(tmp_path / "run", config_from(normed[0]))


def test_a_teacher_there_is_not_read_and_one_here_starts_equal(whole, tmp_path):
  taught_cfg = config_from(whole)
  taught_cfg.method = {"name": "toys.taught.Taught"}
  taught_cfg.train.update(steps=3, eval_every=0)
  feed = masked.make_feed(16)
  source = loop.train(taught_cfg.lock(), tmp_path / "taught", feed=feed).state
  _, plain = first_state(tmp_path / "plain", config_from(tmp_path / "taught"))
  assert plain.collections == {}
  cfg = config_from(tmp_path / "taught")
  cfg.method = {"name": "toys.taught.Taught"}
  _, state = first_state(tmp_path / "again", cfg)
  teacher, params = (
    rig.leaves(x) for x in (state.collections["teacher"], state.params)
  )
  assert rig.differing(teacher, {n: params[n] for n in teacher}) == []
  assert rig.differing(params, rig.leaves(source.ema)) == []
  assert rig.differing(teacher, rig.leaves(source.collections["teacher"])) != []


def test_what_is_read_lies_where_fresh_parameters_lie(averaged):
  made = rig.make_rig(devices=8, shape=(2, 4, 1), preset="fsdp",
                      settings=rig.StepSettings(ema=0.9))  # fmt: skip
  with jax.set_mesh(sharding.make_mesh(Sharding("fsdp", 2, 4, 1))):
    state = set_parameters(made.make_state(), averaged)
  wanted = leaf_paths(made.abstract)
  for name, leaf in leaf_paths(state).items():
    assert leaf.sharding.is_equivalent_to(wanted[name].sharding, leaf.ndim), name
  assert rig.differing(rig.leaves(state.params), averaged) == []
  made.run(1, state)
