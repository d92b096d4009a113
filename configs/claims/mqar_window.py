"""Recall of eight pairs by how many keys a query reads: dynamic masks and windows.

  mdm claim configs/claims/mqar_window.py --workdir runs/widths   # ~20 min, 1 core

Eight pairs are 16 tokens: a mask that keeps what matters has all it needs from 16 keys
on, and a window of the latest tokens from 64 on. Windows know positions, without which
they learn next to nothing in so few steps; dynamic masks do better without.
"""

WIDTHS = (4, 8, 16, 32)
KINDS = {
  "DMA": {"name": "mixers.dynamic_mask.DynamicMaskAttention", "positions": "none"},
  "SWA": {"name": "mixers.window.WindowAttention", "positions": "rope"},
}


def mixer(kind, width):
  settings = {"heads": 2, "kv_heads": 1, "window": width}
  return f"model.network.mixer={KINDS[kind] | settings!r}"


def get_config():
  number = "recall/accuracy"
  return {
    "title": "MQAR: dynamic masks need two keys for each pair, windows the length.",
    "base": "configs/text/mqar_tiny.py",
    "shared": ["train.steps=700", "train.batch=32"],
    "arms": {f"{kind}_{w}": [mixer(kind, w)] for w in WIDTHS for kind in KINDS},
    "compare": [
      *([f"DMA_{w}", f"SWA_{w}", number] for w in WIDTHS),
      ["DMA_16", "DMA_8", number],
      ["DMA_32", "DMA_16", number],
    ],
    "report": [number, "recall/keys_per_query", "recall/cache_bytes_per_token"],
    "seeds": 3,
    "first_seed": 10,
  }
