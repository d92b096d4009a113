r"""MD4 on text8, as published.

  mdm train configs/diffusion/md4_text8.py --workdir runs/md4_text8 \
    --set data.path=TEXT8_FILE

Hardware: 8 or more accelerators. Published: 1.37 bits per character after 1M steps.
Not measured here.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "diffusion.md4", "times": "systematic"}
  cfg.model = {
    "network": {
      "name": "denoiser.Denoiser",
      "vocab_size": 27,
      "width": 768,
      "depth": 12,
      "heads": 12,
      "mlp": "sigmoid-gated",
      "mlp_ratio": 8 / 3,
      "time": "adaln",
      "time_style": "md4",
      "cond_width": 64,
      "depth_scaled": True,
      "epsilon": 1e-5,
      "scan": True,
    },
  }
  cfg.data = {
    "name": "text",
    "tokenizer": "text8",
    "length": 256,
    "split": "ends",
    "path": None,
  }
  cfg.train = {"steps": 1_000_000, "batch": 512, "ema": 0.9999}
  cfg.optimizer = {
    "learning_rate": 5e-4,
    "warmup": 2_000,
    "weight_decay": 0.03,
    "b2": 0.999,
  }
  cfg.eval = {
    "bits": {"name": "likelihood", "split": "test"},
  }
  return cfg
