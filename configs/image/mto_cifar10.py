r"""MTO over MAE on small photographs, on two CPU cores.

  mdm data build configs/image/mto_cifar10.py --set data.manual_dir=DOWNLOADS
  mdm train configs/image/mto_cifar10.py --workdir runs/mto

All else is that of `mae_cifar10.py`, and so is the time but for a few percent. Over
SimMIM: the model and mask settings of `simmim_cifar10.py`, and method.name
`image.mto.MtoSimMim`.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/image/mae_cifar10.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method.name = "image.mto"
  return cfg
