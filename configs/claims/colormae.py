r"""Masks of green noise against random ones, and how hard each colour is.

  mdm claim configs/claims/colormae.py --workdir runs/claim_colormae   # ~40 min, 1 core

Two masked autoencoders learn without labels. Their features are read by the 20 nearest
neighbours and by a linear classifier, on 10% of the labels; and both are trained on 5%
of the labels. Four shorter ones tell the masked loss of each colour, measured on 2,000
held-out images under masks of that colour. Pixels are compared as they are, so that a
loss is lower where what is hidden is nearer to what is seen.
"""

from mdm.training.config import as_overrides

ENCODER = {"patch": 4, "width": 64, "depth": 4, "heads": 2}
DECODER = {"width": 48, "depth": 1, "heads": 2}
FEATURES = {
  "near": {"name": "neighbours", "data": {"label_share": 0.1}},
  "line": {"name": "probe", "data": {"label_share": 0.1}},
}
MASKED = {"masked": {"name": "losses", "limit": 2000}}


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
  shape = [*as_overrides("model.decoder", DECODER), "method.crop_area=()"]
  long = [*shape, "train.steps=2000", f"eval={FEATURES!r}"]
  short = [
    *shape,
    "train.steps=400",
    "method.norm_pixels=False",
    f"eval={MASKED!r}",
  ]
  colored = {"base": "configs/image/colormae_cifar10.py"}
  arms = {
    "random": {"base": "configs/image/mae_cifar10.py", "set": long},
    "green": colored | {"set": long},
    "random_5": finetuned("random"),
    "green_5": finetuned("green"),
  }
  for color in ("blue", "white", "green", "red"):
    settings = [*short, f"method.colors={[color]!r}"]
    arms[f"{color}_masks"] = colored | {"set": settings}
  return {
    "title": "Green masks teach more than random ones, and blue is easier than white, "
    "white than green, green than red.",
    "base": "configs/image/colormae_cifar10.py",
    "shared": [
      *as_overrides("model.encoder", ENCODER),
      "train.batch=64",
      "train.checkpoint_every='100%'",
      "train.eval_every=0",
      "optimizer.learning_rate=3e-3",
    ],
    "arms": arms,
    "compare": [
      ["green", "random", "near/accuracy"],
      ["green", "random", "line/accuracy"],
      ["green_5", "random_5", "held_out/accuracy"],
      ["white_masks", "blue_masks", "masked/loss"],
      ["green_masks", "white_masks", "masked/loss"],
      ["red_masks", "green_masks", "masked/loss"],
    ],
    "report": ["near/accuracy", "line/accuracy", "held_out/accuracy", "masked/loss"],
    "seeds": 3,
    "first_seed": 10,
  }
