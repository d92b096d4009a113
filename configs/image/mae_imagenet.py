r"""A masked autoencoder of ImageNet as published: ViT-B/16, 49 of 196 patches seen.

  mdm train configs/image/mae_imagenet.py --workdir runs/mae_imagenet

ViT-L/16: --set model.encoder.width=1024 --set model.encoder.depth=24
  --set model.encoder.heads=16
ViT-H/14: --set model.encoder.patch=14 --set model.encoder.width=1280
  --set model.encoder.depth=32 --set model.encoder.heads=16
  mdm compile configs/image/mae_imagenet.py --topology v5e:8x8 \
    --set model.encoder.patch=14 --set model.encoder.width=1280 \
    --set model.encoder.depth=32 --set model.encoder.heads=16 \
    --set sharding.preset=fsdp
Half as long: --set "train.steps='800 epochs'"

Hardware: 64 GPUs, a TPU v4-64 or more; on fewer, train.accumulate cuts the batch into
parts that fit. Published accuracy (%) after 1600 epochs, fine-tuned and as a linear
probe: B 83.7 and 68.0, L 85.9 and 75.8, H 86.9 and 76.6. Not measured here. What the
released code fixes besides: no drop path, no clipping, float32 parameters, crops on the
host.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.mae",
    "mask_ratio": 0.75,
    "norm_pixels": True,
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
      "scan": True,
      "remat": "dots",
    },
    "decoder": {
      "name": "patch_decoders.MaskedDecoder",
      "width": 512,
      "depth": 8,
      "heads": 16,
      "scan": True,
      "remat": "dots",
    },
  }
  cfg.data = {
    "name": "tfds",
    "tfds_name": "imagenet2012",
    "image_size": (224, 224),
    "crop": "random",
    "crop_scale": (0.2, 1.0),
  }
  cfg.train = {"steps": "1600 epochs", "batch": 4096}
  cfg.optimizer = {
    "learning_rate": 1.5e-4,
    "scale_batch": 256,
    "warmup": "40 epochs",
    "weight_decay": 0.05,
    "b2": 0.95,
    "clip": 0.0,
  }
  return cfg
