r"""Multiple choice of patches of small photographs, on two CPU cores.

  mdm data build configs/image/selfie_cifar10.py --set data.manual_dir=DOWNLOADS
  mdm train configs/image/selfie_cifar10.py --workdir runs/selfie

4 of 16 patches of 8 x 8 pixels are hidden and told apart by the other 12; a guess is
right 25% of the time. Published with ResNet-50 (the defaults of resnet.ResNet, with the
small stem), attention of 32 heads, and crops of images padded by 4 pixels. Not padded
here: black borders tell places, so there would be less to learn from the rest.
"""

from mdm.training import config

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.selfie",
    "patch": 8,
    "mask_ratio": 0.25,
    "positions": "plain",
    "mean": MEAN,
    "deviation": DEVIATION,
    "crop_area": (0.4, 1.0),
  }
  cfg.model = {
    "encoder": {
      "name": "resnet.ResNet",
      "widths": (16, 32, 64, 128),
      "depths": (1, 1, 1, 1),
      "groups": 3,
      "block": "basic",
      "stem": "small",
    },
    "pooling": {
      "name": "transformer.Transformer",
      "depth": 2,
      "heads": 4,
      "mlp_ratio": 2.0,
      "dropout": 0.1,
    },
  }
  cfg.data = {"name": "cifar10"}
  cfg.train = {"steps": "4 epochs", "batch": 128}
  cfg.optimizer = {
    "learning_rate": 2e-3,
    "warmup": "5%",
    "weight_decay": 0.05,
  }
  return cfg
