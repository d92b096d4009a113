r"""ColorMAE on small photographs, on two CPU cores: MAE, its masks green noise.

  mdm data build configs/image/colormae_cifar10.py --set data.manual_dir=DOWNLOADS
  mdm train configs/image/colormae_cifar10.py --workdir runs/colormae

Other colours: --set "method.colors=['blue']". All else is that of `mae_cifar10.py`, and
so is the time.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/image/mae_cifar10.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method.update(name="image.colormae", colors=("green",))
  return cfg
