"""Recall among random fillers, which look like keys and values: what masks cannot do.

  mdm claim configs/claims/mqar_fillers.py --workdir runs/fillers   # ~15 min, 1 core

The score that keeps a token does not know who will ask. Empty fillers are easy to drop;
random ones cannot be told from pairs by what they are, so DMA should lose much, and
dense attention, which reads everything, little.
"""

KINDS = {
  "DMA": {"name": "mixers.dynamic_mask.DynamicMaskAttention", "window": 16},
  "dense": {"name": "mixers.dense.DenseAttention"},
}
SHAPE = {"heads": 2, "kv_heads": 1, "positions": "none"}


def arm(kind, is_random):
  return [
    f"model.network.mixer={KINDS[kind] | SHAPE!r}",
    f"data.random_non_queries={is_random}",
  ]


def get_config():
  number = "recall/accuracy"
  return {
    "title": "MQAR with random fillers: a mask that does not know the question loses "
    "what dense attention keeps (a negative result for DMA, expected).",
    "base": "configs/text/mqar_tiny.py",
    "shared": ["train.steps=900", "train.batch=32"],
    "arms": {
      f"{kind}_{fillers}": arm(kind, fillers == "random")
      for kind in KINDS
      for fillers in ("empty", "random")
    },
    "compare": [
      ["DMA_empty", "DMA_random", number],
      ["dense_empty", "dense_random", number],
      ["dense_random", "DMA_random", number],
    ],
    "report": [number, "recall/exact", "recall/keys_per_query"],
    "seeds": 3,
    "first_seed": 10,
  }
