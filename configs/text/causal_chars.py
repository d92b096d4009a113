r"""The autoregressive twin of `diffusion/md4_chars.py`: same network, text and budget.

  mdm train configs/text/causal_chars.py --workdir runs/causal   # minutes, 2 cores

What it reaches beside mask diffusion: configs/claims/md4.py.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/diffusion/md4_chars.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method = {"name": "text.causal_lm"}
  cfg.model.network.is_causal = True
  return cfg
