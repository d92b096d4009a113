"""What mixers read and keep."""

import pytest
from toys.mixing import OneHead

from mdm.evaluation.mixer_costs import cache_bytes, keys_per_query
from mdm.nn.mixers.dense import DenseAttention
from mdm.nn.mixers.dynamic_mask import DynamicMaskAttention
from mdm.nn.mixers.latent import LatentAttention
from mdm.nn.mixers.native_sparse import NativeSparseAttention
from mdm.nn.mixers.window import WindowAttention

SIZES = {"heads": 2, "kv_heads": 1, "head_width": 8}
NSA = NativeSparseAttention(
  **SIZES, block=8, stride=4, select_block=8, num_blocks=3, window=16
)
LATENT = LatentAttention(2, head_width=8, kv_width=12, rotary_width=4)
PAIR = 2 * 8 * 4  # bytes of a key and a value of one head, float32


@pytest.mark.parametrize(
  ("mixer", "short", "long"),
  [
    (DenseAttention(**SIZES), 10, 100),
    (LATENT, 10, 100),
    (NSA, 1 + 10 + 10, (92 // 4 + 1) + 24 + 16),
    (WindowAttention(**SIZES, window=16), 10, 16),
    (DynamicMaskAttention(**SIZES, window=16), 10, 16),
    (DynamicMaskAttention(**SIZES, window=8, recent=4), 10, 12),
  ],
)
def test_keys_per_query_follow_from_settings_and_length(mixer, short, long):
  assert (keys_per_query(mixer, 10), keys_per_query(mixer, 100)) == (short, long)


def test_a_mixer_of_unknown_kind_is_not_counted():
  assert keys_per_query(OneHead(), 10) is None


@pytest.mark.parametrize(
  ("mixer", "rate"),
  [
    (DenseAttention(**SIZES), PAIR + 1),
    (LATENT, 4 * (12 + 4) + 1),
    (NSA, (PAIR + 1) * 5 / 4),
  ],
)
def test_a_growing_cache_has_bytes_for_every_token(mixer, rate):
  assert cache_bytes(mixer, 160) - cache_bytes(mixer, 80) == 80 * rate


@pytest.mark.parametrize("kind", [WindowAttention, DynamicMaskAttention])
def test_a_cache_of_slots_does_not_grow(kind):
  mixer = kind(**SIZES, window=16)
  assert cache_bytes(mixer, 1_000) == cache_bytes(mixer, 100)
  assert 16 * PAIR <= cache_bytes(mixer, 100) <= 16 * (PAIR + 8)
