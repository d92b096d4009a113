"""GenMD4: masked diffusion that learns when each token of the vocabulary is revealed.

Token v has a schedule of its own, alpha_v(t) = 1 - (1 - e) t^w_v, and w is learned with
the network. What is hidden then depends on w, so the gradient has a second part, the
score of the masks, weighted by the loss; two corruptions of each row at the same time
are each other's baseline.

Source: Simplified and Generalized Masked Diffusion for Discrete Data, Shi et al., 2024,
section 6 and appendix on the leave-one-out gradient; constants follow the released code
(github google-deepmind/md4).
Differences:
  - any number of corruptions above one; the released code has two.
  - log(1 - (1 - e) t^w) goes through expm1, without cancellation near t = 1.
  - times lie in [t1, 1], so that what is trained is 1 / (1 - t1) times the integral, as
    released; `score` takes the integral.
  - `sample` reveals by the schedule of the start; the release has no sampler.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from mdm.decoding.likelihood import Score, average_strata, spread_times, token_nats
from mdm.masks.corruption import Corrupted
from mdm.masks.keys import split_keys, uniform_rows
from mdm.methods.base import Mean, mean_of
from mdm.methods.diffusion.mask_diffusion import Batch, MaskDiffusion, Rows, per_token


class GenMD4(MaskDiffusion):
  """Mask diffusion with learned polynomial schedules; the loss is in bits per token.

  Attributes:
    power: w of every token at the start.
    samples: corruptions of each row at its time, at least two.
    epsilon: share of tokens still visible at t = 1.
    first_time: t1; times are drawn between this and 1, and what is hidden at t1 is read
      without the network.
  """

  schedule: str = "polynomial"
  samples: int = 2
  epsilon: float | int = 1e-4
  first_time: float | int = 1e-3

  def setup(self) -> None:
    """Checks the settings and makes the powers."""
    super().setup()
    if self.schedule != "polynomial" or self.masking != "bernoulli":
      raise ValueError(
        f"method.schedule = {self.schedule!r}, method.masking = {self.masking!r}; "
        "GenMD4 learns powers of 'polynomial' and hides by 'bernoulli'."
      )
    if self.samples < 2:
      raise ValueError(
        f"method.samples = {self.samples} leaves none to compare with; take 2 or more."
      )
    if not 0 < self.first_time < 1:
      raise ValueError(
        f"method.first_time = {self.first_time} must lie between 0 and 1; try 1e-3."
      )
    start = np.log(np.expm1(self.power))  # softplus of it is `power`
    self.raw_powers = self.param(
      "powers", jax.nn.initializers.constant(start), (self.vocab_size,)
    )

  def powers(self) -> Float[Array, "v"]:
    """w, how late each token is hidden."""
    return jax.nn.softplus(self.raw_powers)

  def earliest(self) -> float:
    """Times are drawn from [t1, 1)."""
    return self.first_time

  def hide(self, keys: Key[Array, "b"], rows: Rows, t: Float[Array, "b"]) -> Corrupted:
    """Hides token x with probability (1 - e) t^w_x; the weight is 1/t."""
    rate = jnp.exp(self.log_rate(rows, t))  # b n
    mask = rows.can_hide & (uniform_rows(keys, rate.shape[1]) < rate)
    return Corrupted(jnp.where(mask, self.mask_id, rows.tokens), mask, 1.0 / t)

  def log_rate(self, rows: Rows, t: Float[Array, "b"]) -> Float[Array, "b n"]:
    """log(1 - alpha_x(t)) = log(1 - e) + w_x log t, of each token x."""
    w_x = self.powers()[jnp.where(rows.can_hide, rows.tokens, 0)]  # b n
    return jnp.log1p(-self.epsilon) + w_x * jnp.log(t)[:, None]

  def losses(
    self,
    rows: Rows,
    t: Float[Array, "b"],
    noised: Corrupted,
    logits: Float[Array, "br n v"],
  ) -> dict[str, Mean]:
    """`loss` has the gradient of the bound, masks included; its value is no bound."""
    many = rows.repeat(self.samples)
    log_rate = self.log_rate(many, jnp.repeat(t, self.samples))  # br n
    log_q = mask_log_prob(log_rate, noised.mask, many.can_hide)
    nats = self.row_nats(many, noised, logits).reshape(-1, self.samples)  # b r
    surrogate = leave_one_out(nats, log_q.reshape(nats.shape))  # b
    bound = nats.mean(axis=-1) + self.rest(rows)
    means = self.metrics(rows, noised, bound)
    w = self.powers()
    return means | {
      "loss": means["bits/token"]
      + Mean(per_token(surrogate / np.log(2), rows).total, jnp.zeros(())),
      "power/mean": mean_of(w),
      "power/min": mean_of(w.min()),
      "power/max": mean_of(w.max()),
    }

  def row_nats(
    self, rows: Rows, noised: Corrupted, logits: Float[Array, "b n v"]
  ) -> Float[Array, "b"]:
    """(1/t) times the sum, over hidden x, of sum_v w_v p_v + w_x (-log p_x - 1)."""
    w = self.powers()
    w_x = w[jnp.where(rows.can_hide, rows.tokens, 0)]  # b n
    nats = token_nats(logits, rows.tokens)  # b n
    integrand = jax.nn.softmax(logits, axis=-1) @ w + w_x * (nats - 1.0)
    return noised.weight * jnp.where(noised.mask, integrand, 0.0).sum(axis=-1)

  def rest(self, rows: Rows) -> Float[Array, "b"]:
    """Reconstruction at t1: a hidden token is v with a probability like t1^w_v."""
    t1 = jnp.full(len(rows.tokens), self.first_time, jnp.float32)
    log_rate = self.log_rate(rows, t1)  # b n
    log_share = log_rate - jnp.log1p(-self.epsilon)  # w_x log t1
    nats = jax.nn.logsumexp(self.powers() * jnp.log(t1[0])) - log_share
    return jnp.where(rows.can_hide, jnp.exp(log_rate) * nats, 0.0).sum(axis=-1)

  def score(
    self,
    batch: Batch,
    keys: Key[Array, "b"],
    *,
    masking: str = "bernoulli",
    num_samples: int = 128,
  ) -> Score:
    """The bound in nats of each row under the learned powers, and its standard error.

    Raises:
      ValueError: for counted masks, which know no powers.
    """
    if masking != "bernoulli":
      raise ValueError(
        f"masking = {masking!r} knows no powers of tokens; score with 'bernoulli'."
      )
    rows = self.read(batch, train=False)
    module, variables = self.unbind()

    def estimate(keys: jax.Array, t: jax.Array) -> Any:
      """One stratum's estimate of each row."""
      return module.apply(variables, rows, keys, t, method="nats_at")

    time_keys, mask_keys = split_keys(keys, 2)
    times = spread_times(time_keys, num_samples, low=self.first_time)  # b s
    found = average_strata(estimate, mask_keys, times)
    span = 1.0 - self.first_time
    return Score(span * found.nats + self.rest(rows), span * found.error)

  def nats_at(
    self, rows: Rows, keys: Key[Array, "b"], t: Float[Array, "b"]
  ) -> Float[Array, "b"]:
    """One estimate of each row's diffusion loss, at its time."""
    noised = self.hide(keys, rows, t)
    logits = self.logits(noised.tokens, t, rows.valid)
    return self.row_nats(rows, noised, logits)


def mask_log_prob(
  log_rate: Float[Array, "b n"], mask: Bool[Array, "b n"], can_hide: Bool[Array, "b n"]
) -> Float[Array, "b"]:
  """Log q(z | x): log rate of each hidden token, log(1 - rate) of each visible one."""
  visible = jnp.log(-jnp.expm1(log_rate))
  return jnp.where(can_hide, jnp.where(mask, log_rate, visible), 0.0).sum(axis=-1)


def leave_one_out(
  nats: Float[Array, "b r"], log_q: Float[Array, "b r"]
) -> Float[Array, "b"]:
  """Has the gradient of E_q[nats] through q: each copy against the others' mean.

  (1/r) sum_k (nats_k - mean of the others) log q_k, the first factor held fixed; for
  two copies (nats_1 - nats_2) (log q_1 - log q_2) / 2.
  """
  r = nats.shape[-1]
  others = (nats.sum(axis=-1, keepdims=True) - nats) / (r - 1)
  return (jax.lax.stop_gradient(nats - others) * log_q).mean(axis=-1)
