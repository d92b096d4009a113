r"""GenMD4 on text8: MD4 whose every token learns a schedule of its own.

  mdm train configs/diffusion/genmd4_text8.py --workdir runs/genmd4_text8 \
    --set data.path=TEXT8_FILE

Hardware: 8 or more accelerators. Published: 1.34 bits per character after 1M steps.
Not measured here. It takes two corruptions a step; give MD4 `method.samples=2` too
before comparing them.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/diffusion/md4_text8.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method = {"name": "diffusion.genmd4"}
  return cfg
