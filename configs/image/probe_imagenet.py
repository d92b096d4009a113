r"""ImageNet named by a line on a frozen ViT-B/16, as published for MAE.

  mdm train configs/image/mae_imagenet.py --workdir runs/mae_imagenet
  mdm train configs/image/probe_imagenet.py --workdir runs/mae_probe

ViT-L/16: --set model.encoder.width=1024 --set model.encoder.depth=24
  --set model.encoder.heads=16 --set "train.steps='50 epochs'"
ViT-H/14: as L, with --set model.encoder.patch=14 --set model.encoder.width=1280
  --set model.encoder.depth=32

Hardware: 32 GPUs or a TPU v4-32. Published accuracy: B 68.0%, L 75.8%, H 76.6%. Not
measured here. What differs: batch norm takes its statistics from the whole batch, not
from the part on each device.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.classify",
    "num_classes": 1000,
    "crop_area": (),  # data.crop has cut
    "pool": "cls",
    "norm": "batch",
    "trains": "head",
    "head_deviation": 0.01,
  }
  cfg.model = {
    "encoder": {
      "name": "vit.Vit",
      "patch": 16,
      "width": 768,
      "depth": 12,
      "heads": 12,
      "scan": True,
    },
  }
  cfg.data = {
    "name": "tfds",
    "tfds_name": "imagenet2012",
    "image_size": (224, 224),
    "crop": "random",
    "crop_scale": (0.08, 1.0),
    "crop_share": 0.875,
  }
  cfg.init = {"run": "runs/mae_imagenet", "parts": {"encoder": "encoder"}}
  cfg.train = {"steps": "90 epochs", "batch": 16_384, "eval_every": "10 epochs"}
  cfg.optimizer = {
    "name": "lars",
    "learning_rate": 0.1,
    "scale_batch": 256,
    "warmup": "10 epochs",
    "weight_decay": 0.0,
    "clip": 0.0,
  }
  cfg.eval = {"held_out": {"name": "accuracy"}}
  return cfg
