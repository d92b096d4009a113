"""Times spread over a whole step: the same however micro-batches and devices cut it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import masked, rig

from mdm.masks.corruption import hide_tokens
from mdm.masks.keys import example_keys
from mdm.masks.times import batch_places, sample_times
from mdm.methods.base import Mean
from mdm.training.step import StepSettings, accumulate_gradients

ROWS = 16


class Timed(masked.ToyMasked):
  """The toy; each row is hidden at a rate of its own, spread over the step."""

  def hide(self, batch):
    t = self.times(batch)
    keys = example_keys(self.make_rng("mask"), batch["index"])
    can_hide = jnp.ones(batch["tokens"].shape, bool)
    return hide_tokens(keys, batch["tokens"], can_hide, t, mask_id=self.vocab)[1]

  def times(self, batch):
    place, total = batch_places(batch)
    return sample_times(self.make_rng("time"), place, total)

  def __call__(self, batch, *, train):
    means = super().__call__(batch, train=train)
    _, total = batch_places(batch)
    return means | {"rows": Mean(jnp.float32(total), jnp.ones(()))}


METHOD = Timed(masked.Mixer(dropout=0.0))


@pytest.fixture(scope="module")
def whole():
  return gradients(1)


def gradients(count):
  made = rig.make_rig(method=METHOD)
  rows = {name: jnp.asarray(x) for name, x in masked.make_batch(3, ROWS).items()}
  settings = StepSettings(accumulate=count)
  step = jax.jit(lambda s, b: accumulate_gradients(METHOD, s, b, settings))
  return step(made.make_state(), rows)


@pytest.mark.parametrize("count", [2, 4])
def test_micro_batches_take_the_times_and_masks_of_the_whole_batch(whole, count):
  grads, means, _ = gradients(count)
  assert float(means["mask/sum"].total) == float(whole[1]["mask/sum"].total)
  assert float(means["rows"].value()) == ROWS
  for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(whole[0]),
                          strict=True):  # fmt: skip
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_devices_take_the_times_and_masks_of_the_whole_batch():
  sums = [
    float(rig.make_rig(method=METHOD, **cut).run(1)[1]["mask/sum"])
    for cut in ({}, {"devices": 8, "shape": (4, 2, 1)})
  ]
  assert sums[0] == sums[1]


def test_no_two_rows_of_a_step_share_a_time():
  batch = masked.make_batch(0, ROWS)
  key = {"time": jax.random.key(0)}
  pieces = [
    METHOD.apply(
      {},
      {n: x[i::4] for n, x in batch.items()} | {"examples": jnp.int32(ROWS)},
      rngs=key,
      method="times",
    )
    for i in range(4)
  ]
  strata = np.floor(np.concatenate(pieces) * ROWS).astype(int)
  assert sorted(strata) == list(range(ROWS))
