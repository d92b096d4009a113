r"""Multi-query associative recall as the authors of dynamic mask attention set it.

  mdm train configs/text/mqar_dma.py --workdir runs/mqar_dma      # an accelerator

512 pairs among 2,048 tokens, the rest random tokens; every query reads as many keys as
there are pairs. Learned positions, no convolution. Their learning rates by width:
4e-4 for 32, 3e-4 for 64, 2e-4 for 128, 1e-4 for 256. Not run here: no figure to expect.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "text.recall"}
  cfg.model = {
    "network": {
      "name": "zoology.Zoology",
      "vocab_size": 2_049,
      "width": 64,
      "depth": 2,
      "taps": 0,
      "mlp_ratio": 4.0,
      "max_length": 2_048,
      "mixer": {
        "name": "mixers.dynamic_mask.DynamicMaskAttention",
        "heads": 1,
        "positions": "none",
        "window": 512,
      },
    },
  }
  cfg.data = {
    "name": "mqar",
    "length": 2_048,
    "vocab_size": 2_049,
    "pairs": 512,
    "random_non_queries": True,
    "num_train": 250_000,
    "num_test": 1_000,
  }
  cfg.train = {"steps": "100 epochs", "batch": 32, "log_every": 100}
  cfg.optimizer = {"learning_rate": 3e-4, "weight_decay": 0.1, "warmup": 0, "clip": 0.0}
  cfg.eval = {"recall": {"name": "recall", "split": "test"}}
  return cfg
