"""What mixers read and keep."""

import pytest
from toys.mixing import OneHead

from mdm.evaluation.mixer_costs import cache_bytes, keys_per_query
from mdm.nn.mixers.dense import DenseAttention
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention
from mdm.nn.mixers.window import WindowAttention

SIZES = {"heads": 2, "kv_heads": 1, "head_width": 8}
PAIR = 2 * 8 * 4  # bytes of a key and a value of one head, float32


@pytest.mark.parametrize(
  ("mixer", "short", "long"),
  [
    (DenseAttention(**SIZES), 10, 100),
    (WindowAttention(**SIZES, window=16), 10, 16),
    (DynamicMaskAttention(**SIZES, window=16), 10, 16),
    (DynamicMaskAttention(**SIZES, window=16, select="relu", cache="full"), 10, 100),
  ],
)
def test_keys_per_query_follow_from_settings_and_length(mixer, short, long):
  assert (keys_per_query(mixer, 10), keys_per_query(mixer, 100)) == (short, long)


def test_a_mixer_of_unknown_kind_is_not_counted():
  assert keys_per_query(OneHead(), 10) is None


def test_a_growing_cache_has_bytes_for_every_token():
  dense = DenseAttention(**SIZES)
  assert cache_bytes(dense, 100) - cache_bytes(dense, 50) == 50 * (PAIR + 1)


@pytest.mark.parametrize("kind", [WindowAttention, DynamicMaskAttention])
def test_a_cache_of_slots_does_not_grow(kind):
  mixer = kind(**SIZES, window=16)
  assert cache_bytes(mixer, 1_000) == cache_bytes(mixer, 100)
  assert 16 * PAIR <= cache_bytes(mixer, 100) <= 16 * (PAIR + 8)
