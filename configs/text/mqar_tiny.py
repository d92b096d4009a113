r"""Multi-query associative recall with dynamic mask attention, in minutes on two cores.

  mdm train configs/text/mqar_tiny.py --workdir runs/mqar

Eight pairs among 64 tokens; every query reads 16 keys, two for each pair. Beside other
mixers: configs/claims/mqar.py. No gradient reaches the choice of keys, so accuracy may
fall back to a window's while it trains, where the order of the scores turns over, and
rise again. No weight decay here: in the one pair of runs that tried it, accuracy fell
back more often with it, which is too little to tell.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "text.recall"}
  cfg.model = {
    "network": {
      "name": "zoology.Zoology",
      "vocab_size": 512,
      "width": 64,
      "depth": 2,
      "mixer": {
        "name": "mixers.dynamic_mask.DynamicMaskAttention",
        "heads": 2,
        "kv_heads": 1,
        "positions": "none",
        "window": 16,
      },
    },
  }
  cfg.data = {"name": "mqar", "length": 64, "vocab_size": 512, "pairs": 8}
  cfg.train = {"steps": 3_000, "batch": 64, "log_every": 100}
  cfg.optimizer = {"learning_rate": 4e-3, "weight_decay": 0.0, "warmup": "5%"}
  cfg.eval = {"recall": {"name": "recall", "split": "test"}}
  return cfg
