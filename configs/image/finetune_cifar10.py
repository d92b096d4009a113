r"""Small photographs named by a pretrained vision transformer, on two CPU cores.

  mdm train configs/image/mae_cifar10.py --workdir runs/mae
  mdm train configs/image/finetune_cifar10.py --workdir runs/mae_finetuned

From scratch, and with 5% of the labels:
  --set init={}
  --set data.label_share=0.05 --set train.steps=600

The network is that of `mae_cifar10.py`; another run of its kind: --set init.run=RUN.
Mixing is that of the published recipe; crops and depth decay are milder, since the
images and the network are small. Not measured in full; `configs/claims/mae.py` compares
the two starts at a smaller size.
"""

from mdm.training import config

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.classify",
    "num_classes": 10,
    "mean": MEAN,
    "deviation": DEVIATION,
    "crop_area": (),
    "crop_pad": 4,
    "smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
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
  cfg.data = {"name": "cifar10"}
  cfg.init = {
    "run": "runs/mae",
    "parts": {"encoder": "encoder"},
    "except": ["encoder/stack/norm/*"],
  }
  cfg.train = {"steps": "20 epochs", "batch": 128}
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
