r"""Position prediction on ImageNet: ViT-B/16, 196 places, a quarter of them context.

  mdm train configs/image/mp3_imagenet.py --workdir runs/mp3_imagenet

Hardware: a TPU v5e-32 or 8 GPUs. Published: above a supervised ViT after 100 epochs,
below MAE. eta = 0.75, the rate of 1e-3 for 512 images and 150 epochs are from memory of
the paper, not from a released code. Not measured here.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "image.mp3", "mask_ratio": 0.75}
  cfg.model = {
    "encoder": {
      "name": "vit.Vit",
      "patch": 16,
      "positions": "none",
      "has_cls": False,
      "drop_path": 0.1,
      "scan": True,
      "remat": "dots",
    },
  }
  cfg.data = {
    "name": "tfds",
    "tfds_name": "imagenet2012",
    "image_size": (224, 224),
    "crop": "random",
  }
  cfg.train = {"steps": "150 epochs", "batch": 1024}
  cfg.optimizer = {
    "learning_rate": 1e-3,
    "scale_batch": 512,
    "warmup": "20 epochs",
    "weight_decay": 0.05,
    "b2": 0.999,
  }
  return cfg
