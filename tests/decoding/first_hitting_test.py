"""First-hitting sampling: one call to a position, and the law of the joint."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from decoding.lookup import TRIPLE, chi_square

from mdm.decoding.sample import SamplerSettings, sample
from mdm.masks.keys import example_keys

ROWS = 8192


@functools.cache
def drawn():
  keys = example_keys(jax.random.key(1), jnp.arange(ROWS))
  canvas = jnp.full((ROWS, 3), TRIPLE.mask_id)
  settings = SamplerSettings(keeps_history=True)

  @jax.jit
  def draw():
    return sample(
      TRIPLE.predict, canvas, keys, "first_hitting", mask_id=3, settings=settings
    )

  return jax.tree.map(np.asarray, draw())


def test_the_sample_has_the_law_of_the_joint_itself():
  assert chi_square(TRIPLE.count(drawn().tokens), TRIPLE.flat) < 4


def test_each_pass_reveals_one_position_and_all_orders_are_equally_likely():
  hidden = (drawn().canvases == TRIPLE.mask_id).sum(-1)
  assert (hidden.T == [2, 1, 0]).all()
  assert drawn().calls == 3
  order = np.argsort((drawn().canvases != 3).argmax(0), axis=-1) @ [9, 3, 1]
  counts = np.unique(order, return_counts=True)[1]
  assert chi_square(counts, np.full(6, 1 / 6)) < 4


def test_times_are_those_of_the_latest_of_uniform_numbers():
  """The k-th of three times is the k-th largest of three uniform numbers."""
  times = np.sort(np.random.default_rng(0).uniform(size=(100_000, 3)), axis=-1)
  for k, column in enumerate(drawn().times):
    expected = times[:, 2 - k]
    error = expected.std() / ROWS**0.5
    assert abs(column.mean() - expected.mean()) < 5 * error
    assert abs(column.std() / expected.std() - 1) < 0.05


def test_blocks_are_filled_from_left_to_right_at_times_that_start_anew():
  settings = SamplerSettings(block_length=2, keeps_history=True)
  keys = example_keys(jax.random.key(1), jnp.arange(16))
  canvas = jnp.full((16, 5), 4).at[:, 1].set(0)
  predict = lambda tokens, t: jnp.zeros((*tokens.shape, 4))  # noqa: E731
  result = sample(predict, canvas, keys, "first_hitting", mask_id=4, settings=settings)
  hidden = np.asarray(result.canvases == 4)
  assert result.calls == 4
  assert not hidden[1][:, [0, 2]].any() and hidden[1][:, [3, 4]].all()
