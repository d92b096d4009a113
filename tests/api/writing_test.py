import jax.numpy as jnp
import numpy as np
import pytest
from toys import joint

from mdm.api.canvases import Canvas, make_canvas
from mdm.api.writing import check_canvas, find_holes, make_settings, read_sample
from mdm.data.text.characters import Characters
from mdm.decoding.passes import Sampled
from mdm.decoding.settings import SamplerSettings
from mdm.methods.diffusion.mdlm import MDLM

AB = Characters("ab", has_eos=True)  # a, b, EOS and MASK are 0, 1, 2, 3


def canvas_of(*parts, **settings):
  return make_canvas(list(parts), AB, mask_id=3, **settings)


def settings_of(
  canvas, sampler="ancestral", steps=None, *, eos_id=None, is_timeless=False, **given
):
  return make_settings(
    sampler, steps, canvas, given, eos_id=eos_id, is_timeless=is_timeless
  )


def sampled(rows, history=()):
  canvases = jnp.asarray(history, int).reshape(-1, len(rows), len(rows[0]))
  return Sampled(np.array(rows), np.array(canvases), np.zeros((0, 1)), np.array(4))


def test_steps_are_one_for_each_hidden_token_unless_asked_for():
  assert settings_of(canvas_of("ab", length=9)).num_steps == 7
  assert settings_of(canvas_of("ab", length=900)).num_steps == 128
  assert settings_of(canvas_of("ab", length=9), steps=300).num_steps == 300


def test_only_samplers_that_never_hide_again_end_at_eos():
  canvas = canvas_of("ab", length=9)
  assert settings_of(canvas, eos_id=2).eos_id == 2
  assert settings_of(canvas, "remdm_cap", eos_id=2).eos_id is None


def test_passes_that_change_nothing_are_saved_where_the_time_is_not_heard():
  canvas = canvas_of("ab", length=9)
  assert settings_of(canvas, is_timeless=True).caches
  assert not settings_of(canvas).caches
  assert not settings_of(canvas, is_timeless=True, caches=False).caches


def test_unknown_settings_and_samplers_are_answered_with_the_nearest():
  canvas = canvas_of(2)
  with pytest.raises(ValueError, match="did you mean temperature"):
    settings_of(canvas, temprature=1.0)
  with pytest.raises(ValueError, match="did you mean steps"):
    settings_of(canvas, num_steps=3)
  with pytest.raises(ValueError, match="did you mean 'first_hitting'"):
    settings_of(canvas, "first_hiting")


@pytest.mark.parametrize(
  ("given", "answer"),
  [
    ({"temperature": -0.1}, "temperature = -0.1 must be 0 or more"),
    ({"top_p": 0.0}, "top_p = 0.0 lies outside"),
    ({"sampler": "low_confidence", "steps": 5}, "more than the 4 positions"),
    ({"block_length": 2, "steps": 1}, "needs at least one pass"),
    ({"guidance": -1.0}, "guidance = -1.0"),
  ],
)
def test_settings_that_make_no_sense_are_refused(given, answer):
  canvas, sampler = canvas_of("ab", length=6), given.get("sampler", "ancestral")
  with pytest.raises(ValueError, match=answer):
    check_canvas(MDLM(joint.Exact()), sampler, settings_of(canvas, **given), canvas)


def test_guidance_needs_something_to_leave_out():
  settings, method = SamplerSettings(num_steps=2, guidance=1.0), MDLM(joint.Exact())
  check_canvas(method, "ancestral", settings, canvas_of("a", 3))
  with pytest.raises(ValueError, match="needs a prompt"):
    check_canvas(method, "ancestral", settings, canvas_of(3))


def test_a_text_ends_at_the_first_eos_that_was_drawn():
  canvas = Canvas(np.array([2, 3, 3, 3]), np.ones(4, bool), np.arange(4) < 1)
  sample = read_sample(canvas, sampled([[2, 0, 2, 1]]), 0, AB)
  assert sample.text == "a" and sample.filled == ["a"] and sample.calls == 4
  assert sample.tokens == [2, 0, 2, 1]


def test_what_was_filled_comes_hole_by_hole_without_padding():
  canvas = canvas_of(1, "a", 2, multiple=8)
  history = [[[3, 0, 3, 1, 3, 3, 3, 3]]]
  sample = read_sample(canvas, sampled([[1, 0, 0, 1, 3, 3, 3, 3]], history), 0, AB)
  assert sample.text == "baab" and sample.filled == ["b", "ab"]
  assert sample.steps == ["_a_b"] and sample.canvases == [[3, 0, 3, 1]]
  assert sample.to_json()["given"] == [False, True, False, False]


def test_holes_are_runs_of_what_was_not_given():
  given = np.array([False, True, False, False, True])
  assert find_holes(given) == [slice(0, 1), slice(2, 4)]
  assert find_holes(np.ones(3, bool)) == []
