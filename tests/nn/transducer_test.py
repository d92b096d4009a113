"""The transducer's loss: closed form, all paths, slopes by differences, padding."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.transducer import NEVER, _skew, _unskew, transducer_loss

SIZES = ((4, 3), (1, 2), (3, 0), (4, 1), (2, 3))  # frames and tokens of each row
FRAMES, TOKENS = 4, 3


@jax.jit
def ask(blank, token, *rest):
  """Loss of each row, and the slope of a weighted sum of them."""

  def cost(edges):
    found = transducer_loss(*edges, *rest)
    return (found.nats * jnp.arange(1, len(found.nats) + 1)).sum(), found

  slope, found = jax.grad(cost, has_aux=True)((blank, token))
  return found, slope


@pytest.fixture(scope="module")
def batch():
  blank, token = jax.random.split(jax.random.key(0))
  rows = len(SIZES)
  length, count = np.array(SIZES).T
  return (
    -jnp.abs(jax.random.normal(blank, (rows, FRAMES, TOKENS + 1))),
    -jnp.abs(jax.random.normal(token, (rows, FRAMES, TOKENS))),
    jnp.arange(FRAMES) < length[:, None],
    jnp.arange(TOKENS) < count[:, None],
  )


def all_paths(blank, token, length, count):
  """Sum over all orders of `length` blanks and `count` tokens; the last is a blank."""
  total = -np.inf
  for ups in itertools.combinations(range(length - 1 + count), count):
    t = u = 0
    score = 0.0
    for step in range(length - 1 + count):
      if step in ups:
        score, u = score + token[t, u], u + 1
      else:
        score, t = score + blank[t, u], t + 1
    total = np.logaddexp(total, score + blank[t, u])
  return total


def test_the_loss_is_the_sum_over_all_paths(batch):
  blank, token = (np.asarray(x, np.float64) for x in batch[:2])
  wanted = [-all_paths(blank[i], token[i], *size) for i, size in enumerate(SIZES)]
  found, _ = ask(*batch)
  np.testing.assert_allclose(found.nats, wanted, rtol=1e-5)
  assert found.feasible.all()


def plain(blank, token, length, count):
  """The recursion cell by cell, for JAX to differentiate."""
  alpha = {(0, 0): jnp.zeros(())}
  for t, u in itertools.product(range(length), range(count + 1)):
    ways = []
    if t:
      ways.append(alpha[t - 1, u] + blank[t - 1, u])
    if u:
      ways.append(alpha[t, u - 1] + token[t, u - 1])
    if ways:
      alpha[t, u] = jax.nn.logsumexp(jnp.stack(ways))
  return -(alpha[length - 1, count] + blank[length - 1, count])


def test_the_slope_is_that_of_the_plain_recursion(batch):
  _, slope = ask(*batch)
  for row in (0, 3):
    wanted = jax.jit(
      jax.grad(lambda edges, row=row: (row + 1) * plain(*edges, *SIZES[row]))
    )((batch[0][row], batch[1][row]))
    for found, due in zip(slope, wanted, strict=True):
      np.testing.assert_allclose(found[row], due, atol=1e-5)


def test_the_slope_is_that_of_finite_differences(batch):
  blank, token, frames, valid = batch
  _, slope = ask(*batch)
  rng = np.random.default_rng(0)
  for edges in (0, 1):
    step = jnp.asarray(rng.normal(size=batch[edges].shape), jnp.float32) * 0.01
    moved = [
      [x + sign * step if i == edges else x for i, x in enumerate((blank, token))]
      for sign in (1, -1)
    ]
    ahead, behind = (ask(*pair, frames, valid)[0].nats for pair in moved)
    found = ((ahead - behind) * jnp.arange(1, 6)).sum() / 2
    assert float(found) == pytest.approx(float((slope[edges] * step).sum()), rel=1e-3)


@pytest.mark.parametrize(
  ("length", "count", "classes", "wanted"), [(2, 1, 3, 2.602690), (4, 3, 5, 8.270333)]
)
def test_uniform_classes_have_the_closed_form(length, count, classes, wanted):
  edge = -math.log(classes)
  loss = jax.jit(transducer_loss)(
    jnp.full((1, length, count + 1), edge),
    jnp.full((1, length, count), edge),
    jnp.ones((1, length), bool),
    jnp.ones((1, count), bool),
  )
  steps = length + count
  closed = steps * math.log(classes) - math.log(math.comb(steps - 1, count))
  assert float(loss.nats[0]) == pytest.approx(closed, rel=1e-6)
  assert closed == pytest.approx(wanted, abs=1e-6)


def test_a_path_goes_through_as_many_blanks_as_frames_and_all_tokens(batch):
  _, (blank, token) = ask(*batch)
  weight = np.arange(1, len(SIZES) + 1)
  length, count = np.array(SIZES).T
  np.testing.assert_allclose(-blank.sum((1, 2)) / weight, length, rtol=1e-5)
  np.testing.assert_allclose(-token.sum((1, 2)) / weight, count, rtol=1e-5, atol=1e-6)


def test_without_tokens_the_loss_is_that_of_all_blanks(batch):
  found, _ = ask(*batch)
  assert float(found.nats[2]) == pytest.approx(-float(batch[0][2, :3, 0].sum()))


def test_padding_changes_no_value_and_no_slope_whatever_stands_in_it(batch):
  blank, token, frames, valid = batch
  outside = ~(
    frames[:, :, None] & jnp.pad(valid, ((0, 0), (1, 0)), constant_values=1)[:, None]
  )
  blank = jnp.where(outside, jnp.nan, blank)
  token = jnp.where(~(frames[:, :, None] & valid[:, None]), jnp.nan, token)
  wide = ((0, 0), (0, 3), (0, 2))
  padded = [jnp.pad(x, wide, constant_values=jnp.nan) for x in (blank, token)]
  flags = [jnp.pad(frames, wide[:2]), jnp.pad(valid, (wide[0], wide[2]))]
  found, slope = ask(*padded, *flags)
  before, wanted = ask(*batch)
  np.testing.assert_allclose(found.nats, before.nats, rtol=1e-6)
  for new, old in zip(slope, wanted, strict=True):
    np.testing.assert_allclose(new[:, : old.shape[1], : old.shape[2]], old, atol=1e-6)
    assert float(jnp.abs(new).sum()) == pytest.approx(float(jnp.abs(old).sum()))


def test_a_row_without_frames_costs_nothing_and_is_reported(batch):
  blank, token, frames, valid = batch
  found, slope = ask(blank, token, frames.at[1].set(False), valid)
  assert found.feasible.tolist() == [True, False, True, True, True]
  assert found.nats[1] == 0 and all((x[1] == 0).all() for x in slope)
  assert all(jnp.isfinite(x).all() for x in slope)


def test_long_lattices_of_sure_edges_stay_exact():
  length, count = 300, 60
  loss = jax.jit(transducer_loss)(
    jnp.full((1, length, count + 1), -3.0),
    jnp.full((1, length, count), -2.0),
    jnp.ones((1, length), bool),
    jnp.ones((1, count), bool),
  )
  ways = math.lgamma(length + count) - math.lgamma(count + 1) - math.lgamma(length)
  assert float(loss.nats[0]) == pytest.approx(900 + 120 - ways, rel=1e-5)


def test_diagonals_hold_the_cells_of_one_sum_and_nothing_else():
  cells = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
  found = np.asarray(_skew(jnp.asarray(cells)))
  for d, b, u in np.ndindex(found.shape):
    inside = 0 <= d - u < 3
    assert found[d, b, u] == (cells[b, d - u, u] if inside else np.float32(NEVER))
  np.testing.assert_array_equal(_unskew(jnp.asarray(found), 3), cells)


def test_places_must_be_one_more_than_tokens():
  with pytest.raises(ValueError, match="4 places for 4 tokens"):
    transducer_loss(
      jnp.zeros((1, 2, 4)), jnp.zeros((1, 2, 4)), jnp.ones((1, 2), bool),
      jnp.ones((1, 4), bool),
    )  # fmt: skip
