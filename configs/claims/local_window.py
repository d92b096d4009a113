"""Text with the last tokens always in sight, beside dynamic masks without, and windows.

  mdm claim configs/claims/local_window.py --workdir runs/local   # ~50 min, a busy core

Characters, 256 at a time; every mask reads 64 keys, dense attention all. The published
mask (DMA_64) keeps the 64 best of all tokens so far; DMA_32_32 the last 32 and the 32
best of those before. Which split to show was chosen on seed 0, so the claim is made on
others.
"""

SHAPE = {"heads": 4, "kv_heads": 2, "qk_norm": True}
DMA = {"name": "mixers.dynamic_mask.DynamicMaskAttention"}
MIXERS = {
  "DMA_64": DMA | {"window": 64},
  "DMA_32_32": DMA | {"window": 32, "recent": 32},
  "SWA_64": {"name": "mixers.window.WindowAttention", "window": 64},
  "dense": {"name": "mixers.dense.DenseAttention"},
}


def get_config():
  number = "bits/bits_per_char"
  return {
    "title": "Text: dynamic masks predict it better with the last tokens in sight.",
    "base": "configs/text/doge_chars.py",
    "shared": ["train.steps=200", "train.batch=8", "eval.bits.limit=64"],
    "arms": {
      arm: [f"model.network.mixer={mixer | SHAPE!r}"] for arm, mixer in MIXERS.items()
    },
    "compare": [
      ["DMA_64", "DMA_32_32", number],
      ["DMA_32_32", "SWA_64", number],
      ["DMA_32_32", "dense", number],
    ],
    "report": [number],
    "seeds": 3,
    "first_seed": 10,
  }
