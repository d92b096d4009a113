"""Numbers of the originals are in tests/parity/log_mel_test.py; here, what must hold.

Tolerance: 1e-4 nats, float32 transforms of frames at different places of an array.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn import log_mel as module
from mdm.nn.log_mel import CONVENTIONS, LogMel, log_mel, num_frames, power_spectrum

NAMES = tuple(CONVENTIONS)
RATE = 8000
RNG = np.random.default_rng(0)
NOISE = (0.1 * RNG.normal(size=(3, 1000))).astype(np.float32)
RUN = jax.jit(log_mel, static_argnums=2)
LENGTHS = jnp.asarray([1000, 613, 200], jnp.int32)


def features_of(audio, length=None, name="kaldi", keys=None, **settings):
  """Features of rows, by default whole ones."""
  audio = jnp.atleast_2d(jnp.asarray(audio, jnp.float32))
  if length is None:
    length = jnp.full(audio.shape[0], audio.shape[1], jnp.int32)
  return RUN(audio, length, LogMel(name, RATE, **settings), keys=keys)


def count_frames(name, n, window=400, step=160):
  """Frames of n samples, counted one by one."""
  if name == "librosa":
    return len(range(0, n + 1, step)) if n else 0
  return len([t for t in range(0, n, step) if t + window + (name == "google") <= n])


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_counted_by_each_convention(name):
  settings, samples = LogMel(name), np.arange(2001)
  wanted = [count_frames(name, n) for n in samples]
  assert [num_frames(int(n), settings) for n in samples] == wanted
  np.testing.assert_array_equal(num_frames(samples, settings), wanted)
  np.testing.assert_array_equal(num_frames(jnp.asarray(samples), settings), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_the_least_samples_make_one_frame(name):
  settings = LogMel(name, RATE)
  assert num_frames(settings.least, settings) == 1
  assert num_frames(settings.least - 1, settings) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_row_knows_neither_its_padding_nor_its_neighbours(name):
  features, valid = features_of(NOISE, LENGTHS, name)
  for row, length in ((1, 613), (2, 200)):
    alone, all_valid = features_of(NOISE[row, :length], name=name)
    count = num_frames(length, LogMel(name, RATE))
    assert valid[row].sum() == count
    assert valid[row, :count].all()
    if count:
      assert all_valid.all()
      np.testing.assert_allclose(features[row, :count], alone[0], atol=1e-4)
  garbage = np.pad(NOISE, ((0, 0), (0, 333)), constant_values=np.nan)
  garbage[1, 613:] = 1e30
  longer, _ = features_of(garbage, LENGTHS, name)
  np.testing.assert_allclose(longer[:, : features.shape[1]], features, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_frames_that_are_not_valid_are_exactly_0(name):
  features, valid = features_of(NOISE, jnp.asarray([700, 0, 5], jnp.int32), name)
  assert features.dtype == jnp.float32
  assert (np.asarray(features)[~np.asarray(valid)] == 0).all()
  assert (np.asarray(features)[np.asarray(valid)] != 0).any()
  assert not valid[1].any()


def test_a_batch_shorter_than_a_frame_has_one_that_is_not_valid():
  features, valid = features_of(NOISE[:, :50])
  assert features.shape == (3, 1, 40)
  assert not valid.any()
  assert (features == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_only_kaldi_is_blind_to_a_constant(name):
  before, _ = features_of(NOISE, name=name, low=0.0)
  after, _ = features_of(NOISE + 0.05, name=name, low=0.0)
  change = np.abs(after - before).max()
  assert change < 1e-3 if name == "kaldi" else change > 0.1


@pytest.mark.parametrize(
  ("name", "rise"), [("kaldi", 4), ("librosa", 4), ("google", 2)]
)
def test_twice_the_sound_adds_the_log_of_4_to_powers_and_of_2_to_magnitudes(name, rise):
  once, _ = features_of(NOISE, name=name)
  twice, _ = features_of(2 * NOISE, name=name)
  np.testing.assert_allclose(twice - once, np.log(rise), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_silence_lies_at_the_floor(name):
  features, _ = features_of(np.zeros((1, 500)), name=name)
  floor = np.float32(np.log(CONVENTIONS[name].floor))
  np.testing.assert_allclose(features, floor, rtol=1e-6)


@pytest.mark.parametrize("hertz", [500, 1000, 2500])
@pytest.mark.parametrize("name", NAMES)
def test_a_tone_is_loudest_in_the_filter_with_the_nearest_centre(name, hertz):
  tone = 0.1 * np.sin(2 * np.pi * hertz * np.arange(1600) / RATE)
  features, _ = features_of(tone, name=name, fft=1024)
  centres = LogMel(name, RATE).centres()
  energy = np.asarray(features)[0, 4]
  if name == "librosa":  # heights are not equal, areas are
    energy = energy - np.log(LogMel(name, RATE, fft=1024).filters().max(axis=0))
  assert energy.argmax() == np.abs(centres - hertz).argmin()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_later_is_a_frame_later(name):
  features, _ = features_of(NOISE, name=name)
  later, _ = features_of(NOISE[:, 80:], name=name)
  inner = slice(3, -3)
  np.testing.assert_allclose(later[:, inner], features[:, 1:][:, inner], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_is_nan_and_none_flows_to_padding(name):
  def total(audio):
    return features_of(audio, LENGTHS, name)[0].sum()

  slope = jax.grad(total)(jnp.asarray(NOISE).at[0].set(0.0))
  assert jnp.isfinite(slope).all()
  assert (slope[1, 613:] == 0).all()
  assert (slope[1, :500] != 0).any()


@pytest.mark.parametrize("size", [256, 512])
def test_the_product_is_the_fast_transform(monkeypatch, size):
  frames = jnp.asarray(NOISE.reshape(3, 5, 200))
  wanted = np.abs(np.fft.rfft(NOISE.reshape(3, 5, 200).astype(np.float64), size)) ** 2
  np.testing.assert_allclose(power_spectrum(frames, size), wanted, atol=1e-5)
  monkeypatch.setattr(module, "target_platform", lambda: "tpu")
  np.testing.assert_allclose(power_spectrum(frames, size), wanted, atol=1e-5)


def test_each_device_transforms_its_own_rows_only():
  mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
  audio = jax.device_put(np.tile(NOISE, (8, 1))[:8], rows)
  length = jax.device_put(jnp.full(8, 1000, jnp.int32), rows)
  with jax.set_mesh(mesh):
    run = jax.jit(lambda a, n: log_mel(a, n, LogMel(rate=RATE)))
    assert "all-gather" not in run.lower(audio, length).compile().as_text()
    features, _ = run(audio, length)
  alone, _ = features_of(NOISE[:1])
  np.testing.assert_allclose(features[0], alone[0], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_dither_is_drawn_by_row_and_only_with_keys(name):
  keys = jax.random.split(jax.random.key(0), 3)
  silence = np.zeros((3, 500), np.float32)
  plain, _ = features_of(silence, name=name, dither=3.0)
  noisy, _ = features_of(silence, name=name, dither=3.0, keys=keys)
  again, _ = features_of(silence[:1], name=name, dither=3.0, keys=keys[:1])
  none, _ = features_of(silence, name=name, keys=keys)
  np.testing.assert_array_equal(none, plain)
  np.testing.assert_allclose(noisy[0], again[0], atol=1e-4)
  assert np.abs(noisy[0] - noisy[1]).max() > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_dither_has_the_deviation_asked_for_in_units_of_16_bits(name):
  keys, silence = jax.random.split(jax.random.key(0), 3), np.zeros((3, 2000))
  drawn = (3.0 * np.random.default_rng(1).normal(size=(3, 2000))) / 32768
  noisy, _ = features_of(silence, name=name, dither=3.0, keys=keys)
  if name == "google":  # its noise comes after pre-emphasis
    drawn = drawn / np.sqrt(1 + 0.97**2)
  wanted, _ = features_of(drawn, name=name)
  middle = slice(20, 30) if name == "google" else slice(None)
  difference = np.mean(noisy[..., middle]) - np.mean(wanted[..., middle])
  assert abs(difference) < 0.3  # twice the deviation would be 0.7 or 1.4


def test_settings_left_open_follow_rate_and_convention():
  assert LogMel().num_bins == 80
  assert LogMel(rate=8000).num_bins == 40
  assert (LogMel(rate=8000).window, LogMel(rate=8000).step) == (200, 80)
  assert (LogMel().size, LogMel(rate=8000).size) == (512, 256)
  assert (LogMel("google").size, LogMel("google", 8000).size) == (1024, 1024)
  assert LogMel("google").band == (125.0, 7600.0)
  assert LogMel("kaldi", low=0.0, high=3000.0).band == (0.0, 3000.0)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    (dict(convention="htk"), "convention = 'htk' is unknown; write one of kaldi"),
    (dict(fft=256), "fft = 256 is shorter than a window of 400"),
    (dict(step_ms=0.0), "frames of 25 ms every 0 ms make 400 and 0 samples"),
    (dict(bins=0), "bins = 0 and dither = 0"),
    (dict(dither=-1.0), "dither = -1"),
  ],
)
def test_settings_that_make_no_features_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    LogMel(**settings)
