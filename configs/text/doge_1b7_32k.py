r"""Dynamic mask attention with 1.7B parameters, on texts of 32,768 tokens.

  mdm train configs/text/doge_1b7_32k.py --workdir runs/doge_1b7_32k \
    --set data.path=TEXT_FOLDER --set data.tokenizer=TOKENIZER_JSON

  mdm compile configs/text/doge_1b7_32k.py --topology v5p:2x2x2 \
    --set train.batch=8

Hardware: 64 TPU v5p. Each text lies on 8 chips, 4,096 tokens on each; of the keys that
come before, a chip is sent the best 1,024 of every other, and the last 127. Sizes are
those of the published family grown to 1.7B; its own of that size are not public. Not
measured.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/text/doge_20m.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.model.network.update(width=2_048, depth=32, mlp_ratio=3.0, remat="full")
  cfg.model.network.mixer.update(heads=16, kv_heads=8, window=1_024, recent=128)
  cfg.data.length = 32_768
  cfg.train.update(steps=32_000, batch=64)
  cfg.optimizer.learning_rate = 1e-3
  cfg.sharding = {"preset": "sequence", "sequence": 8}
  return cfg
