r"""How many steps a masked autoencoder takes with and without MTO's losses.

  mdm claim configs/claims/mto.py --workdir runs/claim_mto   # ~40 min, 1 core

All learn with the same rate from first to last, so that a shorter training is the
beginning of a longer one. `steps` counts until the masked loss of 2,000 held-out
images, the host's without MTO's terms, is as low as MAE's after 1,500 steps. MTO's
equations are our reading of the paper (`methods/image/mto.py`).
"""

from mdm.training.config import as_overrides

ENCODER = {"patch": 4, "width": 64, "depth": 4, "heads": 2}
DECODER = {"width": 48, "depth": 1, "heads": 2}
MASKED = {"masked": {"name": "losses", "limit": 2000}}


def get_config():
  mae = "configs/image/mae_cifar10.py"
  return {
    "title": "With losses of its mask tokens a masked autoencoder takes fewer steps to "
    "the same loss.",
    "base": "configs/image/mto_cifar10.py",
    "shared": [
      *as_overrides("model.encoder", ENCODER),
      *as_overrides("model.decoder", DECODER),
      "method.crop_area=()",
      "train.batch=64",
      "train.steps=2600",
      "train.eval_every=50",
      "train.checkpoint_every='100%'",
      "optimizer.schedule=constant",
      "optimizer.warmup=100",
      f"eval={MASKED!r}",
    ],
    "arms": {
      "MAE_1500": {"base": mae, "set": ["train.steps=1500"]},
      "MAE": {"base": mae, "set": []},
      "MTO": [],
    },
    "reach": {"steps": {"number": "masked/loss", "of": "MAE_1500"}},
    "compare": [
      ["MAE", "MTO", "steps"],
      ["MAE", "MTO", "masked/loss"],
    ],
    "report": ["steps", "masked/loss"],
    "seeds": 3,
    "first_seed": 10,
  }
