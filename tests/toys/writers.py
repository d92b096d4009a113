"""Models that write: one that trains in seconds, one that knows all it could."""

import json

from mdm.api.model import Model
from mdm.methods.diffusion.mdlm import MDLM
from mdm.training import config
from toys import joint

TEXT = (
  """in the beginning god created the heaven and the earth
and the earth was without form and void and darkness was upon the face of the deep
and the spirit of god moved upon the face of the waters
and god said let there be light and there was light
"""
  * 4
)

CONFIG = """
from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {{"name": "diffusion.mdlm"}}
  cfg.model = {{
    "name": "denoiser", "vocab_size": 27, "width": 16, "depth": 1, "heads": 2
  }}
  cfg.data = {{
    "name": "text", "path": "{folder}/text.txt", "data_dir": "{folder}/data",
    "tokenizer": "text8", "length": 24, "split": "ends",
  }}
  cfg.train = {{"steps": 4, "batch": 8, "log_every": 2}}
  cfg.optimizer = {{"learning_rate": 1e-2, "warmup": 1}}
  cfg.eval = {{"bits": {{"name": "likelihood", "num_strata": 2, "batch": 8}}}}
  return cfg
"""
TWIN = ("method={'name': 'text.causal_lm'}", "model.is_causal=True")


def make_exact(folder, *, length=2, **method):
  """A model of texts of "a" and "b" that knows the joint distribution of two."""
  tokenizer = {"kind": "characters", "characters": "ab", "folding": "", "eos": False}
  (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
  cfg = config.base()
  cfg.data = {"name": "text", "length": length}
  return Model(cfg, MDLM(joint.Exact(), **method), {}, 0, folder)
