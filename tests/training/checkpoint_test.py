"""Checkpoints: what is damaged or of another model is never used in silence."""

import contextlib
import dataclasses
import time
import warnings
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import masked, rig

from mdm.nn.transformer import Transformer
from mdm.training import checkpoint, loop
from mdm.training.checkpoint import CheckpointError, WrongCheckpointError
from mdm.training.state import State, leaf_paths


def largest(folder):
  return max(
    (p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
  )


def delete(folder):
  largest(folder / "state" / "d").unlink()


def truncate(folder):
  path = largest(folder / "state" / "d")
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(folder):
  path = largest(folder / "state" / "d")
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(bytes(data))


def uncommit(folder):
  (folder / checkpoint.COMMITTED).unlink()


def garble_record(folder):
  path = folder / "meta" / "metadata"
  path.write_text(path.read_text().replace('"leaves"', '"leavez"'))


DAMAGES = [delete, truncate, flip, uncommit, garble_record]


def prepare(folder, policy):
  cfg = masked.get_config()
  cfg.train.update(on_corrupt=policy, keep=4)
  return rig.prepare(folder, cfg.lock())


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_falls_back_with_a_warning(damage, whole, copied):
  damage(copied / "checkpoints" / "20")
  run = prepare(copied, "previous")
  with pytest.warns(UserWarning, match=r"checkpoints/20 is damaged .* using step 15"):
    state = loop.start_state(run)
  run.checkpoints.close()
  assert rig.differing(rig.saved(whole, 15), rig.leaves(state)) == []
  assert (copied / "damaged" / "20").is_dir()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_raises_if_asked_to(damage, copied):
  damage(copied / "checkpoints" / "20")
  run = prepare(copied, "raise")
  with pytest.raises(
    CheckpointError, match=r"checkpoints/20 is damaged .* delete it"
  ) as info:
    loop.start_state(run)
  run.checkpoints.close()
  assert "\n" not in str(info.value)
  assert (copied / "checkpoints" / "20").is_dir()


@pytest.mark.parametrize("place", range(0, 40_000, 5_000))
def test_one_flipped_byte_anywhere_is_an_error_or_harmless(place, final, copied):
  path = largest(copied / "checkpoints" / "20" / "state" / "d")
  data = bytearray(path.read_bytes())
  data[place % len(data)] ^= 16
  path.write_bytes(bytes(data))
  run = prepare(copied, "raise")
  with contextlib.suppress(CheckpointError):
    assert rig.differing(final, rig.leaves(loop.start_state(run))) == []
  run.checkpoints.close()


def test_damage_to_all_checkpoints_moves_none_and_says_so(copied):
  for folder in (copied / "checkpoints").iterdir():
    uncommit(folder)
  for _ in range(2):  # the second call must not start anew
    run = prepare(copied, "previous")
    with pytest.raises(
      CheckpointError, match=r"none of the 4 checkpoints .* can be read"
    ):
      loop.start_state(run)
    run.checkpoints.close()


def test_a_run_that_fell_back_saves_over_the_damaged_step(copied, final):
  flip(copied / "checkpoints" / "20")
  cfg = masked.get_config()
  cfg.train.keep = 4
  with pytest.warns(UserWarning, match="using step 15"):
    loop.train(cfg.lock(), copied, feed=masked.make_feed(16))
  assert rig.differing(final, rig.saved(copied, 20)) == []


def test_arrays_that_changed_on_their_way_to_disk_are_found(tmp_path, monkeypatch):
  state = make_state(jnp.arange(64.0))
  other = make_state(jnp.arange(64.0).at[5].set(7.0))
  checkpoints = checkpoint.open_checkpoints(tmp_path, keep=1)
  record = checkpoint.describe(other)
  with monkeypatch.context() as patch:
    patch.setattr(checkpoint, "describe", lambda state: record)
    checkpoints.save(state, {})
  with pytest.raises(CheckpointError, match="fingerprint of params/w differs"):
    checkpoints.restore(shapes(state))
  checkpoints.close()


def make_state(w, step=1, **more):
  number = jnp.asarray(step, jnp.int32)
  return State(number, {"w": w, **more}, (), {}, None, jnp.zeros((), jnp.int32))


def shapes(state):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
  )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool", "uint32"])
def test_a_fingerprint_sees_every_byte_and_every_exchange(dtype):
  x = np.random.default_rng(0).integers(0, 2, 64).astype(dtype).reshape(8, 8)

  def fingerprint(x):
    return int(checkpoint._fingerprints({"x": jnp.asarray(x)})["x"])

  original = fingerprint(x)
  raw = x.view(np.uint8)
  for byte in range(raw.size):
    changed = raw.copy()
    changed.flat[byte] ^= 1
    assert fingerprint(changed.view(x.dtype)) != original
  one, zero = np.argwhere(x == 1)[0], np.argwhere(x == 0)[0]
  swapped = x.copy()
  swapped[tuple(one)], swapped[tuple(zero)] = 0, 1
  assert fingerprint(swapped) != original


def test_a_fingerprint_does_not_depend_on_the_sharding():
  made = rig.make_rig(devices=8, shape=(1, 4, 2), preset="fsdp+tp")
  cut = rig.leaf_paths(made.make_state())
  whole = {name: jnp.asarray(np.array(leaf)) for name, leaf in cut.items()}
  assert jax.device_get(checkpoint._fingerprints(cut)) == jax.device_get(
    checkpoint._fingerprints(whole)
  )


def wrong(saved, target):
  with pytest.raises(WrongCheckpointError) as info:
    checkpoint.check_leaves(checkpoint.describe(saved), target, Path("run/3"))
  assert "checkpoint run/3 is of another model" in str(info.value)
  assert "Use the config it was trained with, or another --workdir." in str(info.value)
  return str(info.value)


def test_another_width_lists_the_mismatched_leaves(copied):
  cfg = masked.get_config()
  cfg.model["width"] = 16
  (copied / "config.json").unlink()
  run = rig.prepare(copied, cfg.lock())
  with pytest.raises(WrongCheckpointError, match=r"mismatched \(\d+\)") as info:
    loop.start_state(run)
  run.checkpoints.close()
  assert "params/embed/embedding is float32[17, 32] there, float32[17, 16] here" in str(
    info.value
  )
  assert str(info.value).count(" there, ") == 10
  assert (copied / "checkpoints" / "20").is_dir()  # wrong is not damaged


def test_another_scan_setting_lists_missing_and_unexpected_leaves():
  def init(scan):
    stack = Transformer(depth=3, heads=2, scan=scan)
    x = jnp.zeros((1, 2, 8))
    made = jax.eval_shape(lambda: stack.init(jax.random.key(0), x, train=False))
    shapes = flax.core.meta.unbox(made["params"])
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)

  text = wrong(make_state(init(False)), make_state(init(True)))
  assert "missing (" in text
  assert "unexpected (" in text
  assert "params/w/block_0" in text
  assert "params/w/blocks" in text


def test_a_renamed_leaf_is_both_missing_and_unexpected():
  w = jnp.ones(3)
  text = wrong(make_state(w, a=w), make_state(w, b=w))
  assert "missing (1): params/b; unexpected (1): params/a." in text


def test_another_dtype_is_a_mismatch():
  text = wrong(make_state(jnp.ones(3)), make_state(jnp.ones(3, jnp.bfloat16)))
  assert "mismatched (1): params/w is float32[3] there, bfloat16[3] here." in text


def test_an_async_save_is_not_torn_by_the_next_donating_step(tmp_path):
  """Leaves of 4 MB, overwritten in place as soon as `save` returns."""
  step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  state = make_state(jnp.arange(1 << 20, dtype=jnp.float32), m=jnp.zeros((1024, 1024)))
  checkpoints = checkpoint.open_checkpoints(tmp_path, keep=9)
  target, copies = shapes(state), {}
  for number in range(1, 5):
    copies[number] = rig.leaves(state)
    checkpoints.save(state, {})
    for _ in range(3):
      state = step(state)
    state = state.replace(step=jnp.asarray(number + 1, jnp.int32))
  for number, copy in copies.items():
    assert rig.differing(copy, rig.leaves(checkpoints.restore(target, number))) == []
  checkpoints.close()


def test_only_the_newest_checkpoints_are_kept(tmp_path):
  checkpoints = checkpoint.open_checkpoints(tmp_path, keep=2)
  for number in (1, 2, 3, 4):
    checkpoints.save(make_state(jnp.ones(3), step=number), {})
  checkpoints.wait()
  assert checkpoints.steps() == [3, 4]
  assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]
  checkpoints.close()


def test_a_folder_without_checkpoints_says_so(tmp_path):
  checkpoints = checkpoint.open_checkpoints(tmp_path, keep=2)
  target = shapes(make_state(jnp.ones(3)))
  assert checkpoints.restore_newest_sound(target) is None
  with pytest.raises(
    CheckpointError, match="holds no checkpoint of step None; train first"
  ):
    checkpoints.restore(target)
  checkpoints.close()


def test_a_reader_leaves_a_save_in_progress_alone(copied):
  begun = copied / "checkpoints" / "25.orbax-checkpoint-tmp"
  begun.mkdir()
  reader = checkpoint.open_checkpoints(copied, reads_only=True)
  _, step = reader.restore_variables()
  reader.close()
  assert (step, begun.is_dir()) == (20, True)
  checkpoint.open_checkpoints(copied, keep=4).close()
  end = time.monotonic() + 10  # done in the background
  while begun.exists():
    assert time.monotonic() < end
    time.sleep(0.01)


def test_variables_are_read_without_their_optimiser(copied, final):
  reader = checkpoint.open_checkpoints(copied, reads_only=True)
  variables, _ = reader.restore_variables()
  reader.close()
  found = rig.leaves(variables["params"])
  average = {
    n.removeprefix("ema/"): x for n, x in final.items() if n.startswith("ema/")
  }
  assert rig.differing(found, average) == []


def test_the_record_tells_where_a_checkpoint_comes_from(copied):
  run = rig.prepare(copied)
  meta = run.checkpoints.record()
  run.checkpoints.close()
  assert meta["step"] == 20
  assert meta["mesh"] == {"data": 8, "fsdp": 1, "sequence": 1, "tensor": 1}
  assert meta["config"]["train"]["batch"] == 16
  assert meta["versions"]["jax"] == jax.__version__
  assert set(meta["leaves"]) == set(leaf_paths(run.abstract_state))
  assert "cores of" in meta["hardware"]


def test_no_warning_is_silenced_for_good(tmp_path):
  checkpoint.open_checkpoints(tmp_path).close()
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.warn("heard", stacklevel=1)
  assert [str(w.message) for w in caught] == ["heard"]


def test_a_checkpoint_cannot_be_changed_by_accident(tmp_path):
  checkpoints = checkpoint.open_checkpoints(tmp_path)
  with pytest.raises(dataclasses.FrozenInstanceError):
    checkpoints.folder = tmp_path
  checkpoints.close()
