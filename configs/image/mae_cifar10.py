r"""A masked autoencoder of small photographs, on two CPU cores.

  mdm data build configs/image/mae_cifar10.py --set data.manual_dir=DOWNLOADS
  mdm train configs/image/mae_cifar10.py --workdir runs/mae

A picture of eight held-out images, filled in, is written twenty times:
runs/mae/pictures/filled/step_*.png. More of them: mdm plot runs/mae --count 16.

16 of 64 patches of 4 x 4 pixels are seen. The encoder is two thirds as wide as ViT-Tiny
and half as deep; a step takes about 0.4 s on one core. Expect a mean squared error of
0.010 of the pictures' pixels (in 0..1) with train.steps=1000, after 0.015 at step 50.
"""

from mdm.training import config

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.mae",
    "mask_ratio": 0.75,
    "mean": MEAN,
    "deviation": DEVIATION,
  }
  cfg.model = {
    "encoder": {"name": "vit.Vit", "patch": 4, "width": 128, "depth": 6, "heads": 4},
    "decoder": {
      "name": "patch_decoders.MaskedDecoder",
      "width": 64,
      "depth": 2,
      "heads": 4,
    },
  }
  cfg.data = {"name": "cifar10"}
  cfg.train = {"steps": "20 epochs", "batch": 128, "eval_every": "5%"}
  cfg.optimizer = {
    "learning_rate": 1.5e-3,
    "warmup": "5%",
    "weight_decay": 0.05,
    "b2": 0.95,
    "clip": 0.0,
  }
  cfg.eval = {"filled": {"name": "reconstructions", "count": 8}}
  return cfg
