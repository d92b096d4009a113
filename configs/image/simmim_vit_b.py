r"""SimMIM on ImageNet with ViT-B/16: 30 of 49 cells of 32 pixels are hidden.

  mdm train configs/image/simmim_vit_b.py --workdir runs/simmim_vit_b

Hardware: 16 GPUs or a TPU v4-32; on fewer, train.accumulate cuts the batch into parts
that fit. Published: 83.8% of ImageNet's validation images after 800 epochs and
fine-tuning. Not measured here. The published network knows relative positions and has
factors of 0.1 on its branches; this one is MAE's, with fixed positions.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.simmim",
    "mask_ratio": 0.6,
    "cell": 2,
    "crop_area": (),  # data.crop has cut
    "flip": True,
  }
  cfg.model = {
    "encoder": {
      "name": "vit.Vit",
      "patch": 16,
      "width": 768,
      "depth": 12,
      "heads": 12,
      "drop_path": 0.1,
      "scan": True,
      "remat": "dots",
    },
    "decoder": {"name": "patch_decoders.LinearDecoder"},
  }
  cfg.data = {
    "name": "tfds",
    "tfds_name": "imagenet2012",
    "image_size": (224, 224),
    "crop": "random",
    "crop_scale": (0.67, 1.0),
  }
  cfg.train = {"steps": "800 epochs", "batch": 2048}
  cfg.optimizer = {
    "learning_rate": 1e-4,
    "scale_batch": 512,
    "schedule": "multistep",
    "drops": ("700 epochs",),
    "drop": 0.1,
    "warmup": "10 epochs",
    "weight_decay": 0.05,
    "b2": 0.999,
    "clip": 5.0,
  }
  return cfg
