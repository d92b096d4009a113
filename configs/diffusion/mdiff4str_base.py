r"""MDiff4STR Base, as published, on the folder of word images you give it.

  mdm train configs/diffusion/mdiff4str_base.py --workdir runs/mdiff4str_base \
    --set data.folder=/path/to/words                    # 4 GPUs or a TPU v5e-8

Published: 97.30% on the six common benchmarks after 40 epochs of Union14M-L-Filter.
Not measured here: that data is not at hand. It is Small with more layers.
"""

from pathlib import Path

from mdm.training import config

SMALL = Path(__file__).with_name("mdiff4str_small.py")


def get_config():
  cfg = config.load(SMALL).unlock()
  cfg.model.encoder.mixers = ("cccccc", "ccgggg", "gggggg")
  cfg.model.decoder.depth = 6
  return cfg
