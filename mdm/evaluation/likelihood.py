"""How likely a model finds text: bits per token and character, perplexity, two errors.

Text is cut into windows of the model's length, one after the other; each is scored by
itself, by the method's verb `score`, and every token is counted once. An autoregressive
model's score is exact. That of a mask diffusion is an upper bound, estimated with as
many hidden counts, spread evenly over 1..n, as there are strata.

  error    of the estimate for this very text: more strata make it smaller; 0 if exact
  stderr   of the number for other text of this kind, from how windows differ:
           sum of (nats_w - rate tokens_w)^2 W / (W - 1), rooted, per token

Source: *Large Language Diffusion Models*, 2025, likelihood evaluation; the second error
is that of a ratio of means (*Sampling Techniques*, Cochran, 1977, section 2.11).
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mdm.decoding.likelihood import Score, rate_of
from mdm.evaluation.base import Evaluation, Evaluator, Variables
from mdm.evaluation.verbs import check_verb
from mdm.evaluation.words import real_batches
from mdm.masks.keys import example_keys
from mdm.methods.base import Method

SCORED = ("tokens", "image", "valid", "prompt")  # entries of a batch that are read
Scorer = Callable[[Variables, Mapping[str, Any], jax.Array], Score]


class Scored(NamedTuple):
  """Windows as they were scored: nats, each estimate's error, and tokens counted."""

  nats: Float[np.ndarray, "w"]
  error: Float[np.ndarray, "w"]
  tokens: Float[np.ndarray, "w"]


@dataclasses.dataclass(frozen=True)
class Likelihood(Evaluation):
  """Scores a split: numbers per token and, for text, per character.

  Attributes:
    split: which part of the data set.
    batch: windows scored at once.
    limit: only the first so many; 0 for all.
    num_strata: network passes to each window of a mask diffusion, 2 or more.
    seed: of what is hidden; every window has its own key.
  """

  split: str = "validation"
  batch: int = 64
  limit: int = 0
  num_strata: int = 16
  seed: int = 0

  def build(self, method: Method, data: Mapping[str, Any]) -> Evaluator:
    """See the base class."""
    from mdm.data import datasets

    score = make_scorer(method, self.num_strata)
    dataset = datasets.load(data, self.split)
    facts = dataset.describe()

    def evaluate(variables: Variables) -> dict[str, float]:
      """The split's numbers."""
      batches = real_batches(dataset, self.batch, self.limit)
      scored = score_batches(score, variables, batches, seed=self.seed)
      characters = None
      if "num_characters" in facts:
        share = facts["num_characters"] / facts["num_tokens"]
        characters = share * float(scored.tokens.sum())
      return summarize(scored, characters) | {"windows": float(len(scored.nats))}

    return evaluate


def make_scorer(method: Method, num_strata: int) -> Scorer:
  """A compiled function from variables, a batch and a key per row to a score.

  Raises:
    ValueError: the method cannot score, or there is one stratum or none.
  """
  check_verb(method, "score")
  if num_strata < 2:
    raise ValueError(
      f"num_strata = {num_strata} must be 2 or more; one alone would tell no error."
    )

  @jax.jit
  def score(
    variables: Variables, batch: Mapping[str, Any], keys: Key[Array, "b"]
  ) -> Score:
    """One batch."""
    return cast(
      Score,
      method.apply(variables, batch, keys, num_samples=num_strata, method="score"),
    )

  return score


def score_batches(
  score: Scorer,
  variables: Variables,
  batches: Iterable[Mapping[str, np.ndarray]],
  *,
  seed: int = 0,
) -> Scored:
  """All rows of weight 1 of some batches.

  Raises:
    ValueError: there is nothing to score.
  """
  parts = []
  for batch in batches:
    rows = {name: batch[name] for name in SCORED if name in batch}
    keys = example_keys(jax.random.key(seed), jnp.asarray(batch["index"]))
    found = jax.device_get(score(variables, rows, keys))
    real = (batch["weight"] > 0) & (count_tokens(rows) > 0)
    parts.append(
      [x[real].astype(np.float64) for x in (*found, count_tokens(rows))]  # w each
    )
  if not any(len(nats) for nats, _, _ in parts):
    raise ValueError("there is no token to score; give some text.")
  return Scored(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def count_tokens(batch: Mapping[str, np.ndarray]) -> Float[np.ndarray, "b"]:
  """Tokens of each row that are scored: real ones that are no prompt."""
  if "tokens" not in batch:
    return np.full(len(batch["image"]), float(batch["image"][0].size))
  is_counted = batch.get("valid", np.ones(batch["tokens"].shape, bool))
  if "prompt" in batch:
    is_counted = is_counted & ~batch["prompt"]
  return is_counted.sum(axis=-1).astype(np.float64)


def summarize(scored: Scored, characters: float | None = None) -> dict[str, float]:
  """Numbers of all windows together.

  Args:
    scored: windows scored independently of each other.
    characters: that the tokens make; None where they are no text.

  Returns:
    nats; bits_per_token, bits_per_char and perplexity (per token), each with its
    `_error` and, of two windows or more, `_stderr`; the number of tokens.
  """
  count = float(scored.tokens.sum())
  total = float(scored.nats.sum())
  rate = rate_of(Score(*cast(Any, scored)[:2]), int(count))
  numbers = {
    "nats": total,
    "nats_error": rate.bits_error * count * math.log(2),
    "bits_per_token": rate.bits,
    "bits_per_token_error": rate.bits_error,
    "perplexity": rate.perplexity,
    "perplexity_error": rate.perplexity_error,
    "tokens": count,
  }
  if len(scored.nats) > 1:
    spread = _spread(scored)
    numbers["bits_per_token_stderr"] = spread / math.log(2)
    numbers["perplexity_stderr"] = rate.perplexity * spread
  if characters:
    for name in ("", "_error", "_stderr"):
      if f"bits_per_token{name}" in numbers:
        per_token = numbers[f"bits_per_token{name}"]
        numbers[f"bits_per_char{name}"] = per_token * count / characters
  return numbers


def _spread(scored: Scored) -> float:
  """Standard error of nats per token, from how the windows differ."""
  count, num = scored.tokens.sum(), len(scored.nats)
  gaps = scored.nats - scored.nats.sum() / count * scored.tokens  # w
  return math.sqrt(float(np.square(gaps).sum()) * num / (num - 1)) / float(count)
