r"""The reader that the package ships, trained on rendered words alone.

  bash launch/reader_data.sh reader_data           # fonts and photographs, from Debian
  mdm data build configs/diffusion/mdiff4str_reader.py                    # minutes
  mdm train configs/diffusion/mdiff4str_reader.py --workdir runs/shipped
  mdm bench reader runs/shipped --json numbers.json
  Hardware: 2 CPU cores, hours.
  Expect: about 90% of the IIIT5K training words with three passes.

MDiff4STR with one token per image column and an auxiliary CTC loss, as the tiny reader,
but wider, for all printable characters, on scenes that imitate photographs.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "diffusion.mdiff4str_ctc",
    "num_characters": 94,
    "canvas": 21,
    "copies": 1,
    "dropout": 0.0,
  }
  cfg.model = {
    "encoder": {
      "name": "columns.Columns",
      "width": 192,
      "stem": (32, 64),
      "window": 1,
      "stride": 1,
      "neighbours": 3,
      "depth": 2,
      "heads": 6,
      "mlp_ratio": 2.0,
      "activation": "relu",
    },
    "decoder": {
      "name": "transformer.CrossDecoder",
      "depth": 2,
      "heads": 6,
      "mlp_ratio": 2.0,
      "dropout": 0.0,
      "norm_first": True,
    },
  }
  cfg.data = {
    "name": "rendered_words",
    "charset": "printable",
    "canvas": 21,
    "image_size": (32, 128),
    "channels": 1,
    "augment": 0.3,
    "style": "scene",
    "texts": "signs",
    "strength": 0.8,
    "num_train": 400_000,
    "num_test": 2_000,
    "num_words": 90_000,
    "min_len": 1,
    "max_len": 20,
    "fonts_dir": "reader_data/fonts",
    "photos_dir": "reader_data/photos",
  }
  cfg.train = {
    "steps": 22_016,
    "batch": 32,
    "log_every": 200,
    "checkpoint_every": 2_000,
    "ema": 0.9995,
  }
  cfg.optimizer = {
    "learning_rate": 1e-3,
    "schedule": "wsd",
    "warmup": 1_000,
    "weight_decay": 0.01,
    "b2": 0.98,
  }
  cfg.eval = {
    "words": {"name": "words", "split": "test", "decoder": "lc"},
  }
  return cfg
