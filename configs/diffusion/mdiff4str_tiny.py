r"""A reader small enough to train on two CPU cores while you wait.

  mdm train configs/diffusion/mdiff4str_tiny.py --workdir runs/reader  # ~8 min, 2 cores
  Expect: words/accuracy >= 0.75 on words and fonts it never saw.

MDiff4STR with one token per image column and an auxiliary CTC loss that falls to 0. The
data set is built by `mdm data build configs/diffusion/mdiff4str_tiny.py` (~1 min).
"""

from mdm.training import config

STEPS = 6_000


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "diffusion.mdiff4str_ctc",
    "num_characters": 36,
    "canvas": 13,
    "copies": 1,
    "dropout": 0.0,
    "ctc_steps": STEPS,
  }
  cfg.model = {
    "encoder": {
      "name": "columns.Columns",
      "width": 128,
      "stem": (16, 32),
      "window": 1,
      "stride": 1,
      "neighbours": 2,
      "depth": 1,
      "heads": 4,
      "mlp_ratio": 2.0,
      "activation": "relu",
    },
    "decoder": {
      "name": "transformer.CrossDecoder",
      "depth": 2,
      "heads": 4,
      "mlp_ratio": 2.0,
      "dropout": 0.0,
      "norm_first": True,
    },
  }
  cfg.data = {
    "name": "rendered_words",
    "charset": "alnum",
    "canvas": 13,
    "image_size": (32, 96),
    "channels": 1,
    "augment": 0.3,
    "num_train": 120_000,
    "num_test": 2_000,
  }
  cfg.train = {"steps": STEPS, "batch": 32, "log_every": 100}
  cfg.optimizer = {
    "learning_rate": 1.5e-3,
    "warmup": 200,
    "weight_decay": 0.01,
    "b2": 0.98,
  }
  cfg.eval = {
    "words": {"name": "words", "split": "test", "decoder": "lc", "peer": 500},
  }
  return cfg
