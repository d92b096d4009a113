r"""Handwritten characters of eight alphabets named, on two CPU cores.

  mdm data build configs/image/classify_omniglot.py --set data.manual_dir=DOWNLOADS
  mdm train configs/image/classify_omniglot.py --workdir runs/omniglot

242 characters, 16 images of each to learn from; held out are hands that drew none of
them. Grey images of 28 x 28 pixels in 49 patches. From a masked autoencoder:
  mdm train configs/image/mae_cifar10.py --workdir runs/mae_omniglot \
    --set "data={'name': 'omniglot', 'image_size': (28, 28), 'channels': 1}" \
    --set "method.mean=[0.915]" --set "method.deviation=[0.238]" --set method.flip=False
  and then: --set "init={'run': 'runs/mae_omniglot', 'parts': {'encoder': 'encoder'},
    'except': ['encoder/stack/norm/*']}"

Not measured in full.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.classify",
    "num_classes": 242,
    "mean": (0.915,),
    "deviation": (0.238,),
    "crop_area": (0.6, 1.0),
    "crop_pad": 2,
    "flip": False,
    "smoothing": 0.1,
  }
  cfg.model = {
    "encoder": {
      "name": "vit.Vit",
      "patch": 4,
      "width": 128,
      "depth": 6,
      "heads": 4,
      "drop_path": 0.1,
      "has_norm": False,
    },
  }
  cfg.data = {"name": "omniglot", "image_size": (28, 28), "channels": 1}
  cfg.train = {"steps": "100 epochs", "batch": 64}
  cfg.optimizer = {"learning_rate": 1e-3, "warmup": "5%", "b2": 0.999}
  cfg.eval = {"held_out": {"name": "accuracy"}}
  return cfg
