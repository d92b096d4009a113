r"""Doge-320M: 336M parameters with a tied head, on texts of 2,048 tokens.

  mdm train configs/text/doge_320m.py --workdir runs/doge_320m \
    --set data.path=TEXT_FOLDER --set data.tokenizer=TOKENIZER_JSON

Published: 32,000 steps of 2.1M tokens, ARC 52.1, PIQA 73.9, HellaSwag 52.7 (0 shot).
Not measured here, on any hardware. For weights that are published: mdm/interop/doge.py.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/text/doge_20m.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.model.network.update(width=1_024, depth=32, remat="full")
  cfg.model.network.mixer.update(heads=8, kv_heads=4)
  cfg.train.update(steps=32_000, batch=1_024)
  cfg.optimizer.learning_rate = 2e-3
  return cfg
