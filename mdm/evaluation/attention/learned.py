"""Scores of dynamic masks as a trained network gives them, to draw problems from."""

from collections.abc import Mapping
from typing import Any

import flax
import jax
import numpy as np
from jaxtyping import Float

from mdm.evaluation.recall import UNREAD
from mdm.evaluation.words import real_batches
from mdm.methods.base import Method
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention

MOST_ROWS = 1_024  # test sequences that the network is shown
ROWS = 64  # at once


def learned_scores(
  method: Method, variables: Mapping[str, Any], data: Mapping[str, Any]
) -> Float[np.ndarray, "g m"]:
  """Scores exp(s) of all heads of all layers, of test sequences one after the other.

  Raises:
    ValueError: the network has no dynamic mask attention.
  """
  from mdm.data import datasets

  @jax.jit
  def score(variables: Mapping[str, Any], batch: Mapping[str, Any]) -> list[jax.Array]:
    """Of each layer, [b g n]."""
    _, state = method.apply(
      variables, batch, train=False, capture_intermediates=_is_score, mutable=True
    )
    return jax.tree.leaves(state.get("intermediates", {}))

  found = []
  for batch in real_batches(datasets.load(data, "test"), ROWS, MOST_ROWS):
    rows = {name: x for name, x in batch.items() if name not in UNREAD}
    try:
      layers = score(variables, rows)
    except flax.errors.FlaxError:  # a network of another kind may ask for noise
      layers = []
    if not layers:
      raise ValueError(
        "the run has no dynamic mask attention, whose scores could be taken; name one "
        "of configs/text/mqar_tiny.py or mqar_dma.py."
      )
    joined = np.concatenate([np.asarray(x) for x in layers], axis=1)  # b g n
    found.append(joined[np.asarray(batch["weight"]) > 0])
  scores = np.exp(np.concatenate(found))  # b g n
  return scores.swapaxes(0, 1).reshape(scores.shape[1], -1)


def _is_score(module: Any, name: str) -> bool:
  """Whether a method of a module computes the scores of a dynamic mask."""
  return isinstance(module, DynamicMaskAttention) and name == "_score"
