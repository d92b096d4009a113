r"""MDiff4STR Base, as published, on the folder of word images you give it.

  mdm train configs/diffusion/mdiff4str_base.py --workdir runs/mdiff4str_base \
    --set data.folder=TRAINING_WORDS --set eval.words.data.folder=TEST_WORDS

Small with more layers. Published: 97.30% on the six common benchmarks after 40 epochs
of Union14M-L-Filter. Not measured here: that data is not at hand.
"""

from pathlib import Path

from mdm.training import config

SMALL = Path(__file__).with_name("mdiff4str_small.py")


def get_config():
  cfg = config.load(SMALL).unlock()
  cfg.model.encoder.mixers = ("cccccc", "ccgggg", "gggggg")
  cfg.model.decoder.depth = 6
  return cfg
