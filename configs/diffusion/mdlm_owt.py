r"""MDLM on OpenWebText, as published.

  mdm train configs/diffusion/mdlm_owt.py --workdir runs/mdlm_owt \
    --set data.path=TEXT_FOLDER --set data.tokenizer=GPT2_TOKENIZER_JSON

Hardware: a TPU v5e-64 or 32 GPUs. Published: perplexity at most 23.21 after 1M steps.
Not measured here: neither text nor tokenizer is at hand.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/diffusion/md4_owt.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method = {"name": "diffusion.mdlm"}
  cfg.model.network = {
    "name": "denoiser.Denoiser",
    "vocab_size": 50_257,
    "width": 768,
    "depth": 12,
    "heads": 12,
    "mlp": "gelu_tanh",
    "mlp_ratio": 4.0,
    "bias": True,
    "time": "adaln",
    "cond_width": 128,
    "dropout": 0.1,
    "epsilon": 1e-5,
    "remat": "dots",
    "scan": True,
  }
  cfg.optimizer.update(
    {"schedule": "constant", "warmup": 2_500, "weight_decay": 0.0, "clip": 1.0}
  )
  return cfg
