"""A needle at four times the training length: one pair, asked for once, anywhere.

  mdm claim configs/claims/needle.py --workdir runs/claim_needle   # ~10 min, 1 core

Trained at 64 tokens, asked at 64, 128 and 256, all distances equally likely. DMA and
window read 8 keys at any length, dense attention all. At 4x a window of 8 can look back
over a few of the 128 distances only.
"""

LENGTHS = ("", "_2x", "_4x")
SHAPE = {"heads": 2, "kv_heads": 1, "positions": "none"}
MIXERS = {
  "DMA": {"name": "mixers.dynamic_mask.DynamicMaskAttention", "window": 8, **SHAPE},
  "window": {"name": "mixers.window.WindowAttention", "window": 8, **SHAPE},
  "dense": {"name": "mixers.dense.DenseAttention", **SHAPE},
}


def get_config():
  numbers = [f"needle/accuracy{suffix}" for suffix in LENGTHS]
  needle = {"name": "recall", "split": "test", "factors": [1, 2, 4]}
  return {
    "title": "Needle: trained at 64 tokens and asked at 256, dynamic masks of 8 keys "
    "find what a window of 8 has lost.",
    "base": "configs/text/mqar_tiny.py",
    "shared": [
      "train.steps=800",
      "train.batch=32",
      "data.pairs=1",
      "data.power=1.0",
      f"eval={{'needle': {needle!r}}}",
    ],
    "arms": {
      arm: [f"model.network.mixer={settings!r}"] for arm, settings in MIXERS.items()
    },
    "compare": [["DMA", arm, n] for n in numbers for arm in ("window", "dense")],
    "report": [
      *numbers,
      *(f"needle/keys_per_query{suffix}" for suffix in LENGTHS),
      *(f"needle/cache_bytes_per_token{suffix}" for suffix in LENGTHS),
    ],
    "seeds": 3,
    "first_seed": 10,
  }
