r"""Mask diffusion on characters: the King James Bible, in minutes on two CPU cores.

  apt-get install bible-kjv                                        # the text
  mdm data build configs/diffusion/md4_chars.py
  mdm train configs/diffusion/md4_chars.py --workdir runs/chars
  mdm sample runs/chars --prompt "in the beginning "

MD4 without a time input: 27 characters, windows of 64.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "diffusion.md4", "masking": "count"}
  cfg.model = {
    "network": {
      "name": "denoiser.Denoiser",
      "vocab_size": 27,
      "width": 128,
      "depth": 4,
      "heads": 4,
      "mlp": "gelu",
      "mlp_ratio": 4.0,
    },
  }
  cfg.data = {"name": "kjv", "tokenizer": "text8", "length": 64}
  cfg.train = {"steps": 4_000, "batch": 64, "log_every": 100, "ema": 0.999}
  cfg.optimizer = {
    "learning_rate": 2e-3,
    "warmup": 200,
    "weight_decay": 0.03,
    "b2": 0.98,
  }
  cfg.eval = {
    "bits": {"name": "likelihood", "split": "validation", "limit": 512},
  }
  return cfg
