r"""HPM on small photographs, on two CPU cores: MAE, its masks guided to what is hard.

  mdm data build configs/image/hpm_cifar10.py --set data.manual_dir=DOWNLOADS
  mdm train configs/image/hpm_cifar10.py --workdir runs/hpm

All else is that of `mae_cifar10.py`, standardised pixels as the target included. A step
does more: the teacher encodes all 64 patches, not 16, and there are two decoders.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/image/mae_cifar10.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method.update(name="image.hpm", norm_pixels=True)
  cfg.model.decoder.name = "patch_decoders.TwinDecoder"
  return cfg
