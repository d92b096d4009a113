r"""BEST-RQ on telephone prompts without their texts, on two CPU cores.

  mdm train configs/speech/best_rq_prompts.py --workdir runs/best_rq

Data and encoder are those of `w2v_bert_prompts.py`; the codes are of a random codebook
of 64 entries. Their perplexity tells whether features are normalised: few are used
otherwise.
"""

from mdm.training import config


def get_config():
  cfg = config.load("configs/speech/w2v_bert_prompts.py").copy_and_resolve_references()
  cfg.unlock()
  cfg.method = {"name": "speech.best_rq", "rate": 8_000, "bins": 40}
  cfg.model.quantizer = {
    "name": "quantizer.RandomProjection",
    "entries": 64,
    "width": 16,
  }
  return cfg
