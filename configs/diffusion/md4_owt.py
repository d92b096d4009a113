r"""MD4-S on OpenWebText, as published.

  mdm train configs/diffusion/md4_owt.py --workdir runs/md4_owt \
    --set data.path=TEXT_FOLDER --set data.tokenizer=GPT2_TOKENIZER_JSON

  mdm compile configs/diffusion/md4_owt.py --topology v5e:4x4 \
    --set train.accumulate=2

Hardware: a TPU v5e-64 or 32 GPUs. Published: perplexity at most 22.13 after 1M steps.
Not measured here: neither text nor tokenizer is at hand.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "diffusion.md4"}
  cfg.model = {
    "network": {
      "name": "denoiser.Denoiser",
      "vocab_size": 50_257,
      "width": 768,
      "depth": 12,
      "heads": 12,
      "mlp": "sigmoid-gated",
      "mlp_ratio": 8 / 3,
      "time": "adaln",
      "time_style": "md4",
      "cond_width": 64,
      "depth_scaled": True,
      "dropout": 0.02,
      "epsilon": 1e-5,
      "remat": "dots",
      "scan": True,
    },
  }
  cfg.data = {
    "name": "text",
    "tokenizer": "tokenizer.json",
    "length": 1_024,
    "eos": True,
    "path": None,
  }
  cfg.train = {"steps": 1_000_000, "batch": 512, "ema": 0.9999}
  cfg.optimizer = {
    "learning_rate": 3e-4,
    "warmup": 2_000,
    "weight_decay": 0.03,
    "b2": 0.999,
  }
  cfg.sharding = {"preset": "fsdp"}
  cfg.eval = {
    "bits": {"name": "likelihood", "split": "test", "limit": 1_024},
  }
  return cfg
