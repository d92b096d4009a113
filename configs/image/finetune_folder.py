r"""Images of a folder named by their classes, from a masked autoencoder of them.

  mdm train configs/image/mae_folder.py --workdir runs/mae --set data.folder=photos
  mdm train configs/image/finetune_folder.py --workdir runs/named \
    --set data.folder=photos --set method.num_classes=2
  mdm predict runs/named photo.jpg

The folder holds a folder of images per class, as photos/cat/1.jpg, and num_classes is
their number. Another start: --set init.run=RUN; from scratch: --set init={}.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.classify",
    "num_classes": 2,
    "crop_area": (0.5, 1.0),
    "smoothing": 0.1,
  }
  cfg.model = {
    "encoder": {
      "name": "vit.Vit",
      "patch": 8,
      "width": 128,
      "depth": 4,
      "heads": 4,
      "has_norm": False,
    },
  }
  cfg.data = {"name": "images", "image_size": (64, 64), "channels": 3}
  cfg.init = {
    "run": "runs/mae",
    "parts": {"encoder": "encoder"},
    "except": ["encoder/stack/norm/*"],
  }
  cfg.train = {"steps": 100, "batch": 16}
  cfg.optimizer = {
    "learning_rate": 1e-3,
    "warmup": "10%",
    "weight_decay": 0.05,
    "layer_decay": 0.75,
    "b2": 0.999,
    "clip": 0.0,
  }
  cfg.eval = {"held_out": {"name": "accuracy"}}
  return cfg
