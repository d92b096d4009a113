r"""Doge-20M: 13M parameters with a tied head, on texts of 2,048 tokens.

  mdm train configs/text/doge_20m.py --workdir runs/doge_20m \
    --set data.path=TEXT_FOLDER --set data.tokenizer=TOKENIZER_JSON

Published: 4B tokens of the SmolLM corpus, ARC 29.8, PIQA 58.4, HellaSwag 27.3 (0 shot).
Not measured here, on any hardware. A window as long as the text masks nothing; smaller
ones (--set model.network.mixer.window=512) do. `bos_id` is of the published tokenizer.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "text.causal_lm"}
  cfg.model = {
    "network": {
      "name": "decoder.Decoder",
      "vocab_size": 32_768,
      "width": 256,
      "depth": 8,
      "mlp_ratio": 2.0,
      "bos_id": 0,
      "remat": "dots",
      "scan": True,
      "mixer": {
        "name": "mixers.dynamic_mask.DynamicMaskAttention",
        "heads": 2,
        "kv_heads": 1,
        "qk_norm": True,
        "window": 2_048,
      },
    },
  }
  cfg.data = {
    "name": "text",
    "tokenizer": "tokenizer.json",
    "length": 2_048,
    "eos": True,
    "path": None,
  }
  cfg.train = {"steps": 8_000, "batch": 256}
  cfg.optimizer = {
    "learning_rate": 8e-3,
    "schedule": "wsd",
    "warmup": "10%",
    "decay": "10%",
    "weight_decay": 0.01,
    "b1": 0.9,
    "b2": 0.95,
    "clip": 1.0,
  }
  cfg.sharding = {"preset": "fsdp"}
  cfg.eval = {
    "bits": {"name": "likelihood", "split": "test", "limit": 256},
  }
  return cfg
