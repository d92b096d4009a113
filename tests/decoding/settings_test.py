"""Settings of samplers that are refused before anything is compiled."""

import jax
import jax.numpy as jnp
import pytest

from mdm.decoding.sample import SAMPLERS, SamplerSettings, check_sampling, sample
from mdm.decoding.settings import ETA, REVISING

WRONG = [
  ("ancestrl", {}, {}, "did you mean 'ancestral'"),
  ("ancestral", {"num_steps": 0}, {}, "num_steps = 0 must be at least 1"),
  ("ancestral", {"grid": "cosin"}, {}, "did you mean 'cosine'"),
  ("low_confidence", {"confidence": "hi"}, {}, "confidence = 'hi' is unknown"),
  ("ancestral", {"temperature": -0.1}, {}, "temperature = -0.1 must be 0 or more"),
  ("ancestral", {"temperature": float("nan")}, {}, "temperature = nan must be"),
  ("ancestral", {"top_p": 0.0}, {}, r"top_p = 0.0 lies outside \(0, 1\]"),
  ("ancestral", {"top_p": 1.1}, {}, r"top_p = 1.1 lies outside \(0, 1\]"),
  ("ancestral", {"guidance": -1.0}, {}, "guidance = -1.0 must be 0 or more"),
  ("ancestral", {"guidance": 1.0}, {"length": 8}, "guidance = 1.0 needs a prompt"),
  ("ancestral", {"eta": 0.1}, {}, "eta = 0.1 has no meaning for 'ancestral'"),
  ("remdm_cap", {"eta": 1.5}, {}, r"eta = 1.5 lies outside \[0, 1\]"),
  ("remdm_loop", {"t_on": 0.1, "t_off": 0.2}, {}, "must satisfy 0 < t_off < t_on < 1"),
  ("remdm_loop", {"alpha_on": 1.0}, {}, r"alpha_on = 1.0 lies outside \(0, 1\)"),
  ("ancestral", {"late_ids": (0,)}, {}, "does not go by confidence"),
  ("remdm_cap", {"eos_id": 0}, {}, "may hide any token again"),
  ("ancestral", {"eos_id": 0, "never_ids": (0,)}, {}, "no row could end"),
  ("flow_corrector", {"block_length": 4}, {}, "has a grid of its own"),
  ("ancestral", {"block_length": 0}, {}, "block_length = 0 must be at least 1"),
  ("ancestral", {}, {"length": 8, "prompt_length": 9}, "prompt has 9 tokens"),
  ("ancestral", {}, {"length": 8, "prompt_length": 8}, "nothing to fill on a canvas"),
  ("low_confidence", {"num_steps": 9}, {"length": 8}, "use 8 or fewer"),
  (
    "ancestral",
    {"block_length": 9},
    {"length": 8},
    "block_length = 9 cuts 8 positions",
  ),
  ("ancestral", {"block_length": 2, "num_steps": 3}, {"length": 8}, "into 4 blocks"),
]


@pytest.mark.parametrize(("sampler", "settings", "lengths", "message"), WRONG)
def test_wrong_settings_are_refused_with_a_remedy(sampler, settings, lengths, message):
  with pytest.raises(ValueError, match=message):
    check_sampling(sampler, SamplerSettings(**settings), **lengths)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_defaults_suit_every_sampler(sampler):
  check_sampling(sampler, SamplerSettings(), length=64)
  assert (sampler in ETA) <= (sampler in REVISING)


def test_more_passes_than_positions_are_fine_where_they_have_a_meaning():
  check_sampling("ancestral", SamplerSettings(num_steps=500), length=8)


def test_lengths_of_a_known_canvas_are_checked_by_the_sampler_itself():
  def predict(tokens, t):
    raise AssertionError("called although the settings are wrong")

  with pytest.raises(ValueError, match="more than the 3 positions to reveal"):
    sample(
      predict,
      jnp.full((2, 8), 5).at[:, 3:].set(1),
      jax.random.split(jax.random.key(0)),
      "low_confidence",
      mask_id=5,
      settings=SamplerSettings(num_steps=4),
    )
