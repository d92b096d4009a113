r"""Masks that a teacher guides to what is hard, against random ones.

  mdm claim configs/claims/hpm.py --workdir runs/claim_hpm   # ~40 min, 1 core

Two masked autoencoders learn without labels for as many steps, of which one of HPM
takes more than twice the time. Their features are read by the 20 nearest neighbours and
by a linear classifier, on 10% of the labels; and both are trained on 5% of the labels.
The teacher follows a short training faster than the published one. `masked` is measured
on 2,000 held-out images under random masks: the loss, and how many pairs of patches the
predicted losses order rightly, to be compared with a half by chance.
"""

from mdm.training.config import as_overrides

ENCODER = {"patch": 4, "width": 64, "depth": 4, "heads": 2}
DECODER = {"width": 48, "depth": 1, "heads": 2}
EVAL = {
  "near": {"name": "neighbours", "data": {"label_share": 0.1}},
  "line": {"name": "probe", "data": {"label_share": 0.1}},
  "masked": {"name": "losses", "limit": 2000},
}


def finetuned(run):
  init = {
    "run": f"{{{run}}}",
    "parts": {"encoder": "encoder"},
    "except": ["encoder/stack/norm/*"],
  }
  return {
    "base": "configs/image/finetune_cifar10.py",
    "set": [
      f"init={init!r}",
      "data.label_share=0.05",
      "train.steps=200",
      "method.mixup=0.0",
      "method.cutmix=0.0",
      "optimizer.layer_decay=1.0",
    ],
  }


def get_config():
  alike = [
    *as_overrides("model.decoder", DECODER),
    "method.crop_area=()",
    "train.steps=1600",
    f"eval={EVAL!r}",
  ]
  guided = [*alike, "method.decays=(0.99, 0.999)", "method.settled=2"]
  return {
    "title": "A masked autoencoder that is asked where it fails learns more in as many "
    "steps.",
    "base": "configs/image/hpm_cifar10.py",
    "shared": [
      *as_overrides("model.encoder", ENCODER),
      "train.batch=64",
      "train.checkpoint_every='100%'",
      "train.eval_every=0",
      "optimizer.learning_rate=3e-3",
    ],
    "arms": {
      "MAE": {"base": "configs/image/mae_cifar10.py", "set": alike},
      "HPM": guided,
      "MAE_5": finetuned("MAE"),
      "HPM_5": finetuned("HPM"),
    },
    "compare": [
      ["HPM", "MAE", "near/accuracy"],
      ["HPM", "MAE", "line/accuracy"],
      ["HPM_5", "MAE_5", "held_out/accuracy"],
      ["HPM", "MAE", "masked/loss/patches", "masked/loss"],
    ],
    "report": [
      "near/accuracy",
      "line/accuracy",
      "held_out/accuracy",
      "masked/order/right",
    ],
    "seeds": 3,
    "first_seed": 10,
  }
