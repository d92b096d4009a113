r"""Spoken digits spelled by CTC, voices held out, on two CPU cores.

  mdm data build configs/speech/ctc_digits.py --set data.manual_dir=DOWNLOADS
  mdm train configs/speech/ctc_digits.py --workdir runs/ctc_digits

1,800 clips of four men saying zero to nine, 12 minutes; two more are the validation and
the test split. The network writes letters, and a digit is right where all of them are:
eval/held_out/wer is the share of digits misread by a voice never heard before.

Not measured in full. With train.steps='6 epochs', seed 0: held_out/wer
0.724, held_out/cer 0.451, where the training loss is 0.4 nats a letter.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {
    "name": "speech.ctc",
    "rate": 8_000,
    "bins": 40,
    "vocab_size": 28,
    "stretches": 2,
    "stretch_share": 0.1,
  }
  cfg.model = {
    "subsample": {"name": "subsample.ConvSubsampling", "channels": 8},
    "encoder": {
      "name": "conformer.Conformer",
      "width": 96,
      "depth": 2,
      "heads": 4,
      "dropout": 0.1,
    },
  }
  cfg.data = {
    "name": "spoken_digits",
    "tokens": "characters",
    "max_seconds": 1.2,
    "buckets": (0.6, 1.2),
  }
  cfg.train = {"steps": "20 epochs", "batch": 32, "eval_every": "5 epochs"}
  cfg.optimizer = {"learning_rate": 2e-3, "warmup": "10%", "weight_decay": 0.01}
  cfg.eval = {
    "held_out": {"name": "transcripts", "split": "test", "batch": 50},
  }
  return cfg
