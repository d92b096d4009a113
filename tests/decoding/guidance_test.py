"""Classifier-free guidance as a wrapper of predictors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decoding.lookup import HIDDEN, IMAGES, MASK, make_predict

from mdm.decoding.guidance import guide
from mdm.decoding.sample import SamplerSettings, sample
from mdm.masks.keys import example_keys

PREDICT = make_predict(IMAGES[:4])
CANVAS = HIDDEN[:4].at[:, :3].set(jnp.asarray([1, 2, 3]))
PROMPT = jnp.zeros(CANVAS.shape, bool).at[:, :3].set(True)
T = jnp.ones(4)


def test_without_scale_guidance_is_the_predictor_itself():
  assert guide(PREDICT, PROMPT, mask_id=MASK, scale=0.0) is PREDICT


def test_a_small_scale_is_near_the_conditional():
  near = guide(PREDICT, PROMPT, mask_id=MASK, scale=1e-6)(CANVAS, T)
  np.testing.assert_allclose(near, PREDICT(CANVAS, T), atol=1e-4)


def test_guidance_amplifies_what_the_prompt_adds():
  guided = guide(PREDICT, PROMPT, mask_id=MASK, scale=1.5)(CANVAS, T)
  given, unled = PREDICT(CANVAS, T), PREDICT(HIDDEN[:4], T)
  np.testing.assert_allclose(
    guided, unled + 2.5 * (given - unled), rtol=1e-5, atol=1e-5
  )


def test_any_sampler_takes_guidance_from_its_settings():
  keys = example_keys(jax.random.key(0), jnp.arange(4))
  draw = lambda predict, settings, **named: sample(  # noqa: E731
    predict, CANVAS, keys, "ancestral", mask_id=MASK, settings=settings, **named
  )
  wrapped = guide(PREDICT, PROMPT, mask_id=MASK, scale=3.0)
  plain = draw(wrapped, SamplerSettings(num_steps=4))
  named = draw(PREDICT, SamplerSettings(num_steps=4, guidance=3.0), prompt=PROMPT)
  assert (plain.tokens == named.tokens).all()
  with pytest.raises(ValueError, match=r"guidance = 3.0 needs a prompt"):
    draw(PREDICT, SamplerSettings(num_steps=4, guidance=3.0))
