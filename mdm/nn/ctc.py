"""Connectionist temporal classification: the loss, who said what when, the best path.

A transcript y_1..y_U is emitted over L frames, one class a frame, blank among them;
equal neighbours are merged, then blanks dropped. The loss sums over all such paths,

  nats = -log sum_paths prod_t p_t(path_t).

A transcript needs a frame for each token and one more between equal neighbours. Where
there are fewer, no path exists: such a row costs nothing, has no gradient, and is
reported as not feasible. The loss itself is `optax.ctc_loss`; the lattice of states
blank y_1 blank y_2 .. y_U blank, 2 U + 1 of them, is ours and serves alignment.

Source: *Connectionist Temporal Classification*, Graves, Fernandez, Gomez and
Schmidhuber, 2006, sections 3 and 4.
Differences: rows without a path are left out; rounding below 0 is cut off; posteriors
come as the slope of the log-likelihood, which is what forward-backward computes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

NEVER = -1e30  # log 0 without infinities, whose differences are not numbers


class CtcLoss(NamedTuple):
  """What a batch costs: `nats` of each row, 0 where it is not `feasible`."""

  nats: Float[Array, "b"]
  feasible: Bool[Array, "b"]


class Alignment(NamedTuple):
  """The likeliest path of each row.

  `token` is the place in the transcript that a frame says, -1 for blank, padding and
  rows without a path; `score` its log-probability in nats, 0 for such rows.
  """

  token: Int[Array, "b f"]
  score: Float[Array, "b"]
  feasible: Bool[Array, "b"]


def frames_needed(
  tokens: Int[Array, "b n"], valid: Bool[Array, "b n"]
) -> Int[Array, "b"]:
  """Fewest frames that can say each transcript: U and one per equal neighbours."""
  repeats = (tokens[:, 1:] == tokens[:, :-1]) & valid[:, 1:]  # b n-1
  return valid.sum(-1) + repeats.sum(-1)


def ctc_loss(
  logits: Float[Array, "b f v"],
  frames: Bool[Array, "b f"],
  tokens: Int[Array, "b n"],
  valid: Bool[Array, "b n"],
  *,
  blank: int = 0,
) -> CtcLoss:
  """Negative log-likelihood of each transcript.

  Args:
    logits: class scores before the softmax, of any float type; what stands in padded
      frames, NaN included, changes nothing and has gradient 0.
    frames: real frames, at the front of each row.
    tokens: classes other than `blank` where `valid`, which is at the front of a row.
    blank: the class of frames that say nothing.
  """
  frames_of, needed = frames.sum(-1), frames_needed(tokens, valid)
  feasible = frames_of >= needed  # b
  logits = _real(logits, frames & feasible[:, None])
  nats = optax.ctc_loss(
    logits,
    1.0 - frames.astype(jnp.float32),
    jnp.where(valid, tokens, blank),
    1.0 - valid.astype(jnp.float32),
    blank_id=blank,
  )
  return CtcLoss(jnp.where(feasible, jnp.maximum(nats, 0.0), 0.0), feasible)


def state_posteriors(
  logits: Float[Array, "b f v"],
  frames: Bool[Array, "b f"],
  tokens: Int[Array, "b n"],
  valid: Bool[Array, "b n"],
  *,
  blank: int = 0,
) -> Float[Array, "b f states"]:
  """Probability of each state of the lattice at each frame, given the transcript.

  States are blank, the first token, blank, the second token and so on, 2 n + 1 in all:
  [..., 1::2] is how surely a frame says each token. Real frames of feasible rows sum to
  1, all others are 0. Arguments are those of `ctc_loss`.

  Source: equation 14 there, alpha_t(s) beta_t(s) over the likelihood.
  """
  feasible = frames.sum(-1) >= frames_needed(tokens, valid)  # b
  emission = _emissions(_real(logits, frames), tokens, blank)  # b f states

  def likelihood(emission: Float[Array, "b f states"]) -> Float[Array, ""]:
    """Log-likelihood of all rows together."""
    first, last = _ends(valid)
    start = jnp.where(first, emission[:, 0], NEVER)
    skips = _skips(tokens, valid)

    def advance(
      alpha: Float[Array, "b states"], now: tuple[jax.Array, jax.Array]
    ) -> tuple[Float[Array, "b states"], None]:
      """One frame: stay, come from the state before, or skip a blank."""
      here, is_real = now
      ways = jax.nn.logsumexp(_arrivals(alpha, skips), axis=0)
      return jnp.where(is_real[:, None], ways + here, alpha), None

    rest = (emission[:, 1:].swapaxes(0, 1), frames[:, 1:].T)
    alpha, _ = jax.lax.scan(advance, start, rest)
    total = jax.nn.logsumexp(jnp.where(last, alpha, NEVER), axis=-1)  # b
    return jnp.where(feasible & frames[:, 0], total, 0.0).sum()

  return jax.grad(likelihood)(emission)


def align(
  logits: Float[Array, "b f v"],
  frames: Bool[Array, "b f"],
  tokens: Int[Array, "b n"],
  valid: Bool[Array, "b n"],
  *,
  blank: int = 0,
) -> Alignment:
  """Forced alignment: the likeliest of all paths that say the transcript.

  Of equally likely paths, the one that stays in a state rather than enters it late.
  Arguments are those of `ctc_loss`.
  """
  feasible = frames.sum(-1) >= frames_needed(tokens, valid)
  emission = _emissions(_real(logits, frames), tokens, blank)  # b f states
  first, last = _ends(valid)
  skips = _skips(tokens, valid)

  def advance(
    best: Float[Array, "b states"], now: tuple[jax.Array, jax.Array]
  ) -> tuple[Float[Array, "b states"], Int[Array, "b states"]]:
    """One frame, and how many states back each state came from."""
    here, is_real = now
    ways = _arrivals(best, skips)  # 3 b states
    step = jnp.where(is_real[:, None], ways.argmax(0), 0)
    return jnp.where(is_real[:, None], ways.max(0) + here, best), step

  start = jnp.where(first, emission[:, 0], NEVER)
  rest = (emission[:, 1:].swapaxes(0, 1), frames[:, 1:].T)
  best, steps = jax.lax.scan(advance, start, rest)  # b states; f-1 b states
  final = jnp.where(last, best, NEVER)
  end = final.argmax(-1)  # b

  def back(
    state: Int[Array, "b"], step: Int[Array, "b states"]
  ) -> tuple[Int[Array, "b"], Int[Array, "b"]]:
    """The state before, and this one."""
    return state - jnp.take_along_axis(step, state[:, None], 1)[:, 0], state

  begin, states = jax.lax.scan(back, end, steps, reverse=True)
  path = jnp.concatenate([begin[None], states]).T  # b f
  says = (path % 2 == 1) & frames & feasible[:, None]
  is_real = feasible & frames[:, 0]
  score = jnp.where(is_real, final.max(-1), 0.0)
  return Alignment(jnp.where(says, path // 2, -1), score, feasible)


def token_frames(alignment: Alignment, tokens: int) -> Int[Array, "b n"]:
  """The first frame that says each of `tokens` tokens; -1 for those never said."""
  says = alignment.token[:, None] == jnp.arange(tokens)[:, None]  # b n f
  return jnp.where(says.any(-1), says.argmax(-1), -1)


def _real(
  logits: Float[Array, "b f v"], frames: Bool[Array, "b f"]
) -> Float[Array, "b f v"]:
  """Scores in float32, 0 in padding: NaN times 0 would still be NaN."""
  return jnp.where(frames[..., None], logits.astype(jnp.float32), 0.0)


def _emissions(
  logits: Float[Array, "b f v"], tokens: Int[Array, "b n"], blank: int
) -> Float[Array, "b f states"]:
  """Log-probability of each state's class at each frame."""
  log_probs = jax.nn.log_softmax(logits)
  b, n = tokens.shape
  classes = jnp.full((b, 2 * n + 1), blank).at[:, 1::2].set(tokens)
  return jnp.take_along_axis(log_probs, classes[:, None], axis=-1)


def _ends(
  valid: Bool[Array, "b n"],
) -> tuple[Bool[Array, "states"], Bool[Array, "b states"]]:
  """States that a path may begin in, and those it may end in."""
  state = jnp.arange(2 * valid.shape[1] + 1)
  last = 2 * valid.sum(-1, keepdims=True)  # b 1
  return state < 2, (state == last) | (state == last - 1)


def _skips(
  tokens: Int[Array, "b n"], valid: Bool[Array, "b n"]
) -> Bool[Array, "b states"]:
  """States that are also reached from two before: tokens unlike their neighbour."""
  b, n = tokens.shape
  differs = (tokens[:, 1:] != tokens[:, :-1]) & valid[:, 1:]
  return jnp.zeros((b, 2 * n + 1), bool).at[:, 3::2].set(differs)


def _arrivals(
  score: Float[Array, "b states"], skips: Bool[Array, "b states"]
) -> Float[Array, "3 b states"]:
  """Scores of the states that lead to each: itself, the one before, two before."""
  padded = jnp.pad(score, ((0, 0), (2, 0)), constant_values=NEVER)
  two = jnp.where(skips, padded[:, :-2], NEVER)
  return jnp.stack([score, padded[:, 1:-1], two])
