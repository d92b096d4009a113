"""Ancestral sampling: its exact law in T steps, counts, and calls."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import PAIR, TRIPLE, chi_square

from mdm.decoding.sample import SamplerSettings, sample
from mdm.masks.keys import example_keys
from mdm.masks.schedule import MaskSchedule

ROWS = 8192
KEYS = example_keys(jax.random.key(0), jnp.arange(ROWS))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def draw(joint, settings, schedule=None):
  canvas = jnp.full((ROWS, joint.length), joint.mask_id)
  return sample(
    joint.predict,
    canvas,
    KEYS,
    mask_id=joint.mask_id,
    settings=settings,
    schedule=schedule or MaskSchedule(),
  )


@pytest.mark.parametrize("steps", [1, 3])
def test_t_steps_of_a_pair_mix_the_joint_with_its_marginals(steps):
  tokens = draw(PAIR, SamplerSettings(num_steps=steps)).tokens
  law = (1 - 1 / steps) * PAIR.flat + PAIR.independent() / steps
  assert chi_square(PAIR.count(tokens), law) < 4
  assert chi_square(PAIR.count(tokens), PAIR.flat) > 6


def law_of_passes(joint, steps):
  """Exact law of T ancestral passes: every pass of every canvas, by enumeration."""
  law = {(joint.mask_id,) * joint.length: 1.0}
  for k in range(steps):
    reveal, after = 1 / (steps - k), {}
    canvases = np.asarray(list(law))
    probs = np.exp(np.asarray(joint.predict(jnp.asarray(canvases), 0), np.float64))
    for canvas, p, weight in zip(canvases, probs, law.values(), strict=True):
      outcomes = {(): weight}
      for i, token in enumerate(canvas):
        if token != joint.mask_id:
          choices = {int(token): 1.0}
        else:
          choices = dict(enumerate(reveal * p[i])) | {joint.mask_id: 1 - reveal}
        outcomes = {
          (*o, c): w * q for o, w in outcomes.items() for c, q in choices.items() if q
        }
      for outcome, w in outcomes.items():
        after[outcome] = after.get(outcome, 0.0) + w
    law = after
  return np.asarray([law[tuple(map(int, text))] for text in joint.texts])


def test_two_steps_of_a_triple_have_the_law_found_by_enumeration():
  tokens = draw(TRIPLE, SamplerSettings(num_steps=2)).tokens
  assert chi_square(TRIPLE.count(tokens), law_of_passes(TRIPLE, 2)) < 4
  assert chi_square(TRIPLE.count(tokens), TRIPLE.flat) > 6


@pytest.mark.parametrize(
  ("schedule", "grid"),
  [(MaskSchedule("cosine"), "uniform"), (MaskSchedule(), "cosine")],
)
def test_hidden_counts_are_binomial_in_the_schedule(schedule, grid):
  settings = SamplerSettings(num_steps=4, grid=grid, keeps_history=True)
  result = draw(TRIPLE, settings, schedule)
  for i in range(3):
    s = float(result.times[i + 1, 0])
    rate = float(schedule.rate(s))
    counts = np.bincount((result.canvases[i] == 3).sum(-1), minlength=4)
    law = [(1 - rate) ** 3, 3 * rate * (1 - rate) ** 2, 3 * rate**2 * (1 - rate)]
    assert chi_square(counts, [*law, rate**3]) < 4


@pytest.mark.parametrize(("length", "steps"), [(2, 5), (6, 4)])
def test_reused_logits_take_the_expected_number_of_calls(length, steps):
  """T (1 - (1 - 1/T)^L) for one row, over 2,000 seeds."""
  settings = SamplerSettings(num_steps=steps, caches=True)
  predict = lambda tokens, t: jnp.zeros((*tokens.shape, 2))  # noqa: E731
  canvas = jnp.full((1, length), 2)

  @jax.jit
  @jax.vmap
  def calls(key):
    return sample(predict, canvas, key[None], mask_id=2, settings=settings).calls

  counts = np.asarray(calls(KEYS[:2000]), np.float64)
  expected = steps * (1 - (1 - 1 / steps) ** length)
  assert abs(counts.mean() - expected) < 4 * counts.std() / 2000**0.5
