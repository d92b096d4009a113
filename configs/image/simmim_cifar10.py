r"""SimMIM on small photographs, on two CPU cores.

  mdm data build configs/image/simmim_cifar10.py --set data.manual_dir=DOWNLOADS
  mdm train configs/image/simmim_cifar10.py --workdir runs/simmim

10 of 16 cells of 8 x 8 pixels are hidden; the network and the training are those of
`mae_cifar10.py`, which sees a quarter of the patches and is faster by as much.
"""

from mdm.training import config

MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "image.simmim",
    "mask_ratio": 0.6,
    "cell": 2,
    "mean": MEAN,
    "deviation": DEVIATION,
  }
  cfg.model = {
    "encoder": {"name": "vit.Vit", "patch": 4, "width": 128, "depth": 6, "heads": 4},
    "decoder": {"name": "patch_decoders.LinearDecoder"},
  }
  cfg.data = {"name": "cifar10"}
  cfg.train = {"steps": "20 epochs", "batch": 128}
  cfg.optimizer = {
    "learning_rate": 1.5e-3,
    "warmup": "5%",
    "weight_decay": 0.05,
    "b2": 0.95,
    "clip": 0.0,
  }
  return cfg
