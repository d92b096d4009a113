r"""MD4 on the pixels of CIFAR-10: 3,072 tokens of 256 values, a DiT in place of a UNet.

  mdm data build configs/diffusion/md4_cifar10.py --set data.manual_dir=DOWNLOADS
  mdm train configs/diffusion/md4_cifar10.py --workdir runs/md4_cifar10

Hardware: a TPU v5e-16 or 8 GPUs. Published with a UNet of 32 blocks: 2.75 bits per
dimension after 2M steps. Not measured here.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "diffusion.md4"}
  cfg.model = {
    "network": {
      "name": "dit.DiT",
      "width": 512,
      "depth": 16,
      "heads": 8,
      "patch": 2,
      "time": "adaln",
      "dropout": 0.1,
      "scan": True,
    },
  }
  cfg.data = {"name": "cifar10", "form": "tokens", "manual_dir": None}
  cfg.train = {"steps": 2_000_000, "batch": 256, "ema": 0.9999}
  cfg.optimizer = {
    "learning_rate": 2e-4,
    "warmup": 100,
    "weight_decay": 0.01,
    "b2": 0.99,
  }
  cfg.eval = {
    "bits": {"name": "likelihood", "split": "validation", "limit": 256},
  }
  return cfg
