r"""Block diffusion (BD3-LM) on OpenWebText: blocks of 16, denoised one after the other.

  mdm train configs/diffusion/block_diffusion_owt.py --workdir runs/bd3_owt \
    --set data.path=TEXT_FOLDER --set data.tokenizer=GPT2_TOKENIZER_JSON

Hardware: a TPU v5e-64 or 32 GPUs. Not measured here.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/diffusion/mdlm_owt.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method = {"name": "diffusion.block_diffusion", "block_length": 16}
  cfg.model.network.time = "none"
  return cfg
