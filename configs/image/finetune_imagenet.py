r"""ImageNet named by a pretrained ViT-B/16, fine-tuned as published for MAE.

  mdm train configs/image/mae_imagenet.py --workdir runs/mae_imagenet
  mdm train configs/image/finetune_imagenet.py --workdir runs/mae_finetuned

ViT-L/16: --set model.encoder.width=1024 --set model.encoder.depth=24
  --set model.encoder.heads=16 --set model.encoder.drop_path=0.2
  --set "train.steps='50 epochs'" --set optimizer.learning_rate=1e-3
  --set optimizer.layer_decay=0.75 --set optimizer.end=2.5e-4
ViT-H/14: as L, with --set model.encoder.patch=14 --set model.encoder.width=1280
  --set model.encoder.depth=32 --set model.encoder.drop_path=0.3

Hardware: 32 GPUs or a TPU v4-32. Published accuracy: B 83.7%, L 85.9%, H 86.9%. Not
measured here. What differs from the published recipe: images are mirrored after
RandAugment (mdm/data/image_randaugment.py), not before.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.classify",
    "num_classes": 1000,
    "crop_area": (),  # data.crop has cut
    "smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "erasing": 0.25,
  }
  cfg.model = {
    "encoder": {
      "name": "vit.Vit",
      "patch": 16,
      "width": 768,
      "depth": 12,
      "heads": 12,
      "drop_path": 0.1,
      "has_norm": False,
      "scan": True,
      "remat": "dots",
    },
  }
  cfg.data = {
    "name": "tfds",
    "tfds_name": "imagenet2012",
    "image_size": (224, 224),
    "crop": "random",
    "crop_scale": (0.08, 1.0),
    "crop_share": 0.875,
    "randaugment": 9.0,  # timm's rand-m9-mstd0.5-inc1
    "randaugment_ops": 2,
    "randaugment_std": 0.5,
  }
  cfg.init = {
    "run": "runs/mae_imagenet",
    "parts": {"encoder": "encoder"},
    "except": ["encoder/stack/norm/*"],
  }
  cfg.train = {"steps": "100 epochs", "batch": 1024, "eval_every": "5 epochs"}
  cfg.optimizer = {
    "learning_rate": 5e-4,
    "scale_batch": 256,
    "warmup": "5 epochs",
    "end": 5e-4,  # 1e-6 of 2e-3
    "weight_decay": 0.05,
    "layer_decay": 0.65,
    "b2": 0.999,
    "clip": 0.0,
  }
  cfg.eval = {"held_out": {"name": "accuracy"}}
  return cfg
