"""The published LLaDA sampler's canvases, pass by pass and token by token.

All runs are at temperature 0, where nothing is drawn, so that `==` holds. With tokens
that must wait, equals in confidence (all of them have 0) are taken from the left here;
in the stored runs they are too.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.decoding.sample import SamplerSettings, sample

NUMBERS = dict(np.load(pathlib.Path(__file__).parent / "llada.npz"))
CLASSES, EOS, EOT = 12, 0, 1
RUNS = {
  "plain": {"num_steps": 6},
  "uneven": {"num_steps": 5},
  "blocks": {"num_steps": 6, "block_length": 4},
  "single": {"num_steps": 12, "block_length": 3},
  "guided": {"num_steps": 6, "guidance": 1.5},
  "guided_blocks": {"num_steps": 6, "block_length": 6, "guidance": 0.5},
  "never_eos": {"num_steps": 6, "never_ids": (EOS,)},
  "late_eos": {"num_steps": 6, "late_ids": (EOS, EOT)},
  "late_eos_blocks": {"num_steps": 4, "block_length": 6, "late_ids": (EOS, EOT)},
}


def predict(tokens, t):
  """The original's network from its tables."""
  del t
  seen, out, bias = (NUMBERS[f"network/{name}"] for name in ("seen", "out", "bias"))
  hidden = jnp.sin(jnp.asarray(seen)[jnp.arange(tokens.shape[1]), tokens].sum(1))
  return jnp.einsum("bh,hnv->bnv", hidden, out) + bias


@functools.cache
def canvases(name):
  prompt = jnp.asarray(NUMBERS["input/prompt"], jnp.int32)
  hidden = jnp.full(
    (len(prompt), NUMBERS["canvases/plain"].shape[2] - prompt.shape[1]), 12
  )
  canvas = jnp.concatenate([prompt, hidden], axis=1)
  settings = SamplerSettings(temperature=0.0, keeps_history=True, **RUNS[name])
  draw = jax.jit(
    lambda canvas: (
      sample(
        predict,
        canvas,
        jax.random.split(jax.random.key(0), len(prompt)),
        "low_confidence",
        mask_id=CLASSES,
        settings=settings,
        prompt=jnp.arange(canvas.shape[1])
        < jnp.full((len(prompt), 1), prompt.shape[1]),
      ).canvases
    )
  )
  return np.asarray(draw(canvas))


@pytest.mark.parametrize("name", RUNS)
def test_every_canvas_is_the_originals(name):
  expected, got = NUMBERS[f"canvases/{name}"], canvases(name)
  assert got.shape == expected.shape
  assert (got == expected).all()


def test_the_switches_make_a_difference_in_the_stored_runs():
  stored = {name: NUMBERS[f"canvases/{name}"] for name in RUNS}
  assert (stored["plain"] == EOS).any()
  assert not (stored["never_eos"] == EOS).any()
  assert (stored["late_eos"] != stored["plain"]).any()
  assert (stored["guided"][-1] != stored["plain"][-1]).any()
