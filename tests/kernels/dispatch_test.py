"""Which backend, and whether chunks: said once, by what each would read."""

import logging

import jax
import jax.numpy as jnp
import pytest

from mdm.kernels import dispatch
from mdm.kernels.dispatch import choose_backend, choose_chunk, load_backend
from mdm.kernels.interval_attention import interval_attention
from mdm.kernels.intervals import window_intervals


@pytest.mark.parametrize(
  ("platform", "backend"), [("cpu", "xla"), ("gpu", "gpu"), ("tpu", "tpu")]
)
def test_auto_is_the_backend_of_the_device(platform, backend, monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: platform)
  assert choose_backend("auto") == backend
  assert choose_backend("xla") == "xla"  # serves anywhere


def test_a_backend_for_another_device_is_refused_and_the_right_one_named(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  with pytest.raises(ValueError, match=r"runs on a tpu only .* 'gpu' or 'auto' would"):
    choose_backend("tpu")


def test_chunks_are_taken_where_they_read_less():
  for width in (16, 256, 1024):
    limit = dispatch.KAPPA * (width + dispatch.CHUNK)
    assert choose_chunk(int(limit) // 64 * 64, width, "xla") is None
    assert choose_chunk(int(limit) // 64 * 64 + 64, width, "xla") == dispatch.CHUNK


@pytest.mark.parametrize(
  ("width", "chunk"), [(1, 128), (256, 256), (512, 512), (1024, 1024), (8192, 1024)]
)
def test_kernels_get_chunks_near_three_quarters_of_the_width(width, chunk):
  assert choose_chunk(10**6, width, "gpu") == chunk


@pytest.mark.parametrize("backend", ["gpu", "tpu"])
def test_kernels_skip_the_future_so_that_half_of_it_counts(backend):
  # n / 2 > 1.5 (w + C / 2) from 4,609 tokens on; 4,096 are more than 1.5 (w + C).
  assert choose_chunk(4_096, 1_024, backend) is None
  assert choose_chunk(5_120, 1_024, backend) == 1_024


def test_queries_after_many_keys_are_compared_with_reading_all_of_these():
  assert choose_chunk(256, 256, "xla") is None
  assert choose_chunk(256, 256, "xla", num_keys=512) == 64
  assert choose_chunk(256, 1_024, "gpu", num_keys=8_192) is None  # one chunk of padding
  assert choose_chunk(1_024, 1_024, "gpu", num_keys=8_192) == 1_024


def test_a_single_query_is_not_cut():
  assert choose_chunk(1, 16, "xla", num_keys=512) is None


def test_the_choice_is_logged_once(caplog):
  dispatch._log_once.cache_clear()
  key = jnp.zeros((1, 256, 1, 8))
  with caplog.at_level(logging.INFO, logger=dispatch.__name__):
    for _ in range(2):
      interval_attention(key, key, key, window_intervals(256, 9), width=9)
  assert [record.getMessage() for record in caplog.records] == [
    "attention of 256 queries to at most 9 of 256 keys on xla: chunks of 64"
  ]


@pytest.mark.parametrize("name", dispatch.BACKENDS[1:])
def test_every_backend_is_a_pair_of_functions(name):
  module = load_backend(name)
  assert callable(module.forward) and callable(module.backward)
