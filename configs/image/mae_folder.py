r"""A masked autoencoder of any folder of images, on a laptop's CPU.

  mdm train configs/image/mae_folder.py --workdir runs/mae --set data.folder=photos
  mdm plot runs/mae --out filled.png

The folder holds images, or a folder of images per class. They are cut to 64 x 64
pixels; 16 of 64 patches of 8 x 8 are seen. Small enough for twenty images and a minute
or two; for thousands, set train.steps to tens of epochs and widths as in mae_imagenet.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "image.mae", "mask_ratio": 0.75, "crop_area": (0.5, 1.0)}
  cfg.model = {
    "encoder": {"name": "vit.Vit", "patch": 8, "width": 128, "depth": 4, "heads": 4},
    "decoder": {
      "name": "patch_decoders.MaskedDecoder",
      "width": 64,
      "depth": 2,
      "heads": 4,
    },
  }
  cfg.data = {"name": "images", "image_size": (64, 64), "channels": 3}
  cfg.train = {"steps": 200, "batch": 16, "eval_every": "25%"}
  cfg.optimizer = {
    "learning_rate": 1.5e-3,
    "warmup": "10%",
    "weight_decay": 0.05,
    "b2": 0.95,
  }
  cfg.eval = {"filled": {"name": "reconstructions", "count": 2}}
  return cfg
