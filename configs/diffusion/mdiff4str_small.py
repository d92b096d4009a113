r"""MDiff4STR Small, as published, on the folder of word images you give it.

  mdm train configs/diffusion/mdiff4str_small.py --workdir runs/mdiff4str_small \
    --set data.folder=TRAINING_WORDS --set eval.words.data.folder=TEST_WORDS

Hardware: 4 GPUs or a TPU v5e-8. Published: 96.38% on the six common benchmarks after 40
epochs of Union14M-L-Filter. Not measured here: that data is not at hand.

RandAugment leaves about 2,000 images per second and core of 9,000 that are decoded.
One detail is not as in the public code: weight decay spares the embedding but not the
strided convolutions, there the reverse.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "diffusion.mdiff4str",
    "num_characters": 94,
    "canvas": 26,
    "copies": 3,
  }
  cfg.model = {
    "encoder": {
      "name": "svtr.SVTR",
      "mixers": ("ccc", "cccggg", "ggg"),
      "dims": (128, 256, 384),
      "heads": (4, 8, 12),
    },
    "decoder": {
      "name": "transformer.CrossDecoder",
      "heads": 6,
      "depth": 3,
      "dropout": 0.1,
    },
  }
  cfg.data = {
    "name": "folder",
    "charset": "printable",
    "canvas": 26,
    "image_size": (32, 128),
    "channels": 3,
    "buckets": True,
    "randaugment": 5.0,  # PARSeq's, three operations
  }
  cfg.train = {
    "steps": "40 epochs",
    "batch": 1024,
    "checkpoint_every": "1 epochs",
    "threads": 8,
  }
  cfg.optimizer = {
    "learning_rate": 5e-4,
    "schedule": "onecycle",
    "warmup": "1.5 epochs",
    "end": 4e-6,
    "weight_decay": 0.05,
    "clip": 20.0,
    "b2": 0.999,
  }
  cfg.eval = {
    "words": {"name": "words", "decoder": "lc", "data": {"folder": None}},
  }
  return cfg
