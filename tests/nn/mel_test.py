import numpy as np
import pytest

from mdm.nn.mel import SCALES, mel_edges, mel_filters, to_hertz, to_mel

FILTERS = dict(rate=16_000, size=512, bins=40, low=0.0, high=8000.0)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_are_undone_and_rise(scale):
  hertz = np.linspace(0, 8000, 801)
  mel = to_mel(hertz, scale)
  assert (np.diff(mel) > 0).all()
  np.testing.assert_allclose(to_hertz(mel, scale), hertz, atol=1e-9)


def test_scales_pass_through_published_points():
  np.testing.assert_allclose(to_mel([0, 700], "htk"), [0, 1127 * np.log(2)])
  assert abs(to_mel(1000, "htk") - 1000) < 0.1
  wanted = [0, 3, 15, 15 + 27]
  np.testing.assert_allclose(to_mel([0, 200, 1000, 6400], "slaney"), wanted)


@pytest.mark.parametrize("scale", SCALES)
def test_edges_are_even_on_the_scale_between_the_ends(scale):
  edges = mel_edges(scale, 10, 100.0, 4000.0)
  assert len(edges) == 12
  np.testing.assert_allclose(edges[[0, -1]], [100, 4000])
  steps = np.diff(to_mel(edges, scale))
  np.testing.assert_allclose(steps, steps[0])


@pytest.mark.parametrize("scale", SCALES)
def test_a_filter_peaks_at_its_centre_and_is_0_from_its_neighbours_on(scale):
  size = 16_384  # 1 Hz to a bin, but for the factor
  filters = mel_filters(scale, **FILTERS | dict(size=size))
  edges = mel_edges(scale, 40, 0.0, 8000.0)
  hertz = np.arange(size // 2 + 1) * 16_000 / size
  for i in (0, 7, 39):
    weights = filters[:, i]
    assert abs(hertz[weights.argmax()] - edges[i + 1]) < 1
    outside = (hertz < edges[i]) | (hertz > edges[i + 2])
    assert (weights[outside] == 0).all()


def test_htk_triangles_add_up_to_1_between_the_outer_centres():
  filters = mel_filters("htk", **FILTERS)
  hertz = np.arange(257) * 16_000 / 512
  edges = mel_edges("htk", 40, 0.0, 8000.0)
  inside = (hertz >= edges[1]) & (hertz <= edges[-2])
  np.testing.assert_allclose(filters.sum(axis=1)[inside], 1, atol=1e-6)


def test_slaney_triangles_have_the_area_1():
  size = 65_536
  filters = mel_filters("slaney", **FILTERS | dict(size=size))
  areas = filters.sum(axis=0) * 16_000 / size
  np.testing.assert_allclose(areas, 1, atol=1e-4)


def test_neither_0_nor_half_the_rate_is_in_a_filter():
  for scale in SCALES:
    filters = mel_filters(scale, **FILTERS)
    assert filters[0].max() == 0
    assert filters[-1].max() < 1e-12


def test_eighty_filters_at_8_khz_rest_on_single_bins_of_a_short_transform():
  band = dict(rate=8000, low=20.0, high=4000.0)
  few = (mel_filters("htk", size=256, bins=80, **band) > 0).sum(axis=0)
  assert (few == 1).sum() == 14
  for size, bins in ((512, 80), (256, 40)):
    counts = (mel_filters("htk", size=size, bins=bins, **band) > 0).sum(axis=0)
    assert counts.min() > 1


def test_filters_that_hold_no_bin_are_refused():
  with pytest.raises(ValueError, match=r"of bins = 128 mel filters.* fft = 256;"):
    mel_filters("htk", rate=8000, size=256, bins=128, low=20.0, high=4000.0)


@pytest.mark.parametrize(
  ("low", "high"), [(-1.0, 100.0), (200.0, 100.0), (0.0, 8001.0)]
)
def test_a_band_that_is_none_is_refused(low, high):
  with pytest.raises(ValueError, match=f"low = {low:g} to high = {high:g} Hz"):
    mel_filters("htk", **FILTERS | dict(low=low, high=high))


def test_an_unknown_scale_is_refused():
  with pytest.raises(
    ValueError, match="scale = 'bark' is unknown; write htk or slaney"
  ):
    mel_filters("bark", **FILTERS)
