r"""A mask diffusion model of LLaDA's size: 8B parameters, windows of 4,096 tokens.

  mdm train configs/diffusion/llada_8b.py --workdir runs/llada_8b \
    --set data.path=TEXT_FOLDER --set data.tokenizer=TOKENIZER_JSON

  mdm compile configs/diffusion/llada_8b.py --topology v5p:4x4x4 \
    --set train.accumulate=4

Hardware: a TPU v5p pod. Sizes and schedule as far as they are published. Not measured.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "diffusion.llada", "short_share": 0.01}
  cfg.model = {
    "network": {
      "name": "denoiser.Denoiser",
      "vocab_size": 126_464,
      "width": 4_096,
      "depth": 32,
      "heads": 32,
      "mlp": "swiglu",
      "mlp_ratio": 3.0,
      "norm": "rms",
      "theta": 500_000.0,
      "zero_head": False,
      "epsilon": 1e-5,
      "remat": "full",
      "scan": True,
    },
  }
  cfg.data = {
    "name": "text",
    "tokenizer": "tokenizer.json",
    "length": 4_096,
    "eos": True,
    "path": None,
  }
  cfg.train = {"steps": 450_000, "batch": 1_280}
  cfg.optimizer = {
    "learning_rate": 4e-4,
    "schedule": "wsd",
    "warmup": 2_000,
    "weight_decay": 0.1,
  }
  cfg.sharding = {"preset": "fsdp+tp"}
  cfg.eval = {
    "bits": {"name": "likelihood", "split": "test", "limit": 256},
  }
  return cfg
