import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.masks.keys import example_keys
from mdm.nn.spec_augment import draw_runs, draw_spec_masks, spec_augment

ROWS, FRAMES, BINS = 512, 100, 40
KEYS = example_keys(jax.random.key(0), jnp.arange(ROWS))
LENGTHS = np.resize(np.array([100, 60, 34, 7, 0]), ROWS)
VALID = jnp.asarray(np.arange(FRAMES) < LENGTHS[:, None])
RUN = jax.jit(
  draw_spec_masks,
  static_argnums=2,
  static_argnames=(
    "bands", "band_width", "stretches", "stretch_share", "stretch_width"
  ),
)  # fmt: skip


def masks(**settings):
  """What is hidden of `ROWS` rows."""
  return np.asarray(RUN(KEYS, VALID, BINS, **settings))


def runs_of(row):
  """Lengths of the runs of True."""
  ends = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
  return ends[1::2] - ends[::2]


def test_what_is_hidden_becomes_0_and_nothing_else_changes():
  x = jax.random.normal(jax.random.key(1), (ROWS, FRAMES, BINS))
  y, mask = jax.jit(spec_augment)(KEYS, x, VALID), masks()
  assert (np.asarray(y)[mask] == 0).all()
  np.testing.assert_array_equal(np.asarray(y)[~mask], np.asarray(x)[~mask])


def test_with_nothing_to_hide_features_stay_as_they_are():
  assert not masks(bands=0, stretches=0).any()
  assert not masks(band_width=0, stretch_share=0.0).any()
  x = jnp.ones((ROWS, FRAMES, BINS), jnp.bfloat16)
  y = spec_augment(KEYS, x, VALID, bands=0, stretches=0)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_array_equal(y, x)


def test_padding_is_never_hidden():
  assert not masks()[~np.asarray(VALID)].any()


def test_bands_run_through_all_valid_frames_and_are_as_wide_as_they_may_be():
  mask = masks(bands=1, stretches=0)[LENGTHS == 60]
  assert (mask[:, :60] == mask[:, :1]).all()
  widths = mask[:, 0].sum(axis=1)
  assert {widths.min(), widths.max()} == {0, 13}  # 27 of 80
  assert all(len(runs_of(row)) <= 1 for row in mask[:, 0])


def test_stretches_take_all_features_and_a_share_of_the_rows_own_frames():
  mask = masks(bands=0, stretches=1, stretch_share=0.07)
  assert (mask == mask[:, :, :1]).all()
  for length, most in ((100, 7), (60, 4), (34, 2), (7, 0), (0, 0)):
    widths = mask[length == LENGTHS][:, :, 0].sum(axis=1)
    assert (widths.min(), widths.max()) == (0, most)


def test_a_share_that_makes_whole_frames_loses_none_to_rounding():
  keys, valid = jax.random.split(jax.random.key(4), 1000), jnp.ones((1000, 100), bool)
  mask = RUN(keys, valid, 2, bands=0, stretches=1, stretch_share=0.53)
  assert mask[..., 0].sum(axis=1).max() == 53  # 52.999998 in float32


def test_the_defaults_hide_one_frame_at_most_at_once_of_a_short_clip():
  mask = masks(bands=0, stretches=1)
  assert mask[LENGTHS == 34][:, :, 0].sum(axis=1).max() == 1


def test_a_stretch_may_have_a_limit_in_frames():
  mask = masks(bands=0, stretches=1, stretch_share=0.5, stretch_width=3)
  assert mask[..., 0].sum(axis=1).max() == 3
  assert mask[LENGTHS == 7][:, :, 0].sum(axis=1).max() == 3


def test_several_runs_may_touch_and_no_more_are_drawn():
  mask = masks(bands=0, stretches=10)[LENGTHS == 100][..., 0]
  assert mask.sum(axis=1).max() <= 50
  assert max(len(runs_of(row)) for row in mask) > 5
  assert (mask.sum(axis=1) > 10).any()


def test_widths_and_begins_are_uniform_on_whole_numbers_ends_included():
  keys = jax.random.split(jax.random.key(2), 20_000)
  length = jnp.full(20_000, 6, jnp.int32)
  run = np.asarray(draw_runs(keys, length, jnp.full_like(length, 2), 1, 8))
  widths, begins = run.sum(axis=1), run.argmax(axis=1)
  shares = np.bincount(widths) / len(widths)
  np.testing.assert_allclose(shares, 1 / 3, atol=0.015)  # 4 standard deviations
  for width, places in ((1, 6), (2, 5)):
    counts = np.bincount(begins[widths == width])
    assert len(counts) == places
    np.testing.assert_allclose(counts / counts.sum(), 1 / places, atol=0.02)
  assert not run[:, 6:].any()


def test_a_row_depends_on_its_key_and_length_alone():
  whole = masks()
  some = np.array([3, 100, 4])
  longer = jnp.pad(VALID[some], ((0, 0), (0, 50)))
  alone = np.asarray(RUN(KEYS[some], longer, BINS))
  np.testing.assert_array_equal(alone[:, :FRAMES], whole[some])
  assert (whole[0] != whole[5]).any()  # equal lengths, other keys


def test_bands_and_stretches_are_drawn_apart():
  count = 4000
  keys = jax.random.split(jax.random.key(3), count)
  valid = jnp.ones((count, 40), bool)
  band = np.asarray(RUN(keys, valid, 40, bands=1, stretches=0, band_width=10))[
    :, 0
  ].sum(axis=1)
  stretch = np.asarray(RUN(keys, valid, 40, bands=0, stretches=1, stretch_share=0.25))[
    :, :, 0
  ]
  assert abs(np.corrcoef(band, stretch.sum(axis=1))[0, 1]) < 0.07


@pytest.mark.parametrize(
  "settings",
  [dict(bands=-1), dict(stretches=-1), dict(band_width=41), dict(stretch_width=-2)],
)
def test_numbers_that_make_no_masks_are_refused(settings):
  with pytest.raises(ValueError, match="no number may be negative, and no band wider"):
    draw_spec_masks(KEYS, VALID, BINS, **settings)


def test_a_share_above_1_is_refused():
  with pytest.raises(ValueError, match=r"stretch_share = 5\.0 lies outside \[0, 1\]"):
    draw_spec_masks(KEYS, VALID, BINS, stretch_share=5.0)
