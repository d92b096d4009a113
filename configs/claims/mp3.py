"""Position prediction against training from scratch, both without positions.

  mdm claim configs/claims/mp3.py --workdir runs/claim_mp3   # ~50 min, 1 core

A small ViT that is never told where its patches lie learns to say it, once per seed and
without labels; then it and one from scratch are trained alike, for as many steps, on 5%
and on all labels. `place` is how often the pretrained one is right about a patch whose
image it sees half of (1.6% by chance). Accuracy is on 5,000 held-out images.
"""

from mdm.training.config import as_overrides

ENCODER = {
  "patch": 4,
  "width": 64,
  "depth": 4,
  "heads": 2,
  "positions": "none",
  "has_cls": False,
}
STEPS = {"5": 300, "100": 600}  # of the training with so many % of the labels
INIT = {
  "run": "{predicts_places}",
  "parts": {"encoder": "encoder"},
  "except": ["encoder/stack/norm/*"],
}


def get_config():
  shape = [
    *as_overrides("model.encoder", ENCODER),
    "train.batch=64",
    "train.checkpoint_every='100%'",
    "train.eval_every=0",
  ]
  arms = {
    "predicts_places": {
      "base": "configs/image/mp3_cifar10.py",
      "set": [
        "train.steps=4000",
        "optimizer.learning_rate=2e-3",
        "method.crop_area=()",
        "eval={'place': {'name': 'losses', 'limit': 2000}}",
      ],
    }
  }
  for percent, steps in STEPS.items():
    for start, init in (("mp3", INIT), ("scratch", {})):
      arms[f"{start}_{percent}"] = [
        f"init={init!r}",
        f"data.label_share={int(percent) / 100}",
        f"train.steps={steps}",
        "method.mixup=0.0",
        "method.cutmix=0.0",
        "optimizer.layer_decay=1.0",
      ]
  return {
    "title": "Who has learned where patches belong names more images, without being "
    "told it.",
    "base": "configs/image/finetune_cifar10.py",
    "shared": shape,
    "arms": arms,
    "compare": [
      [f"mp3_{percent}", f"scratch_{percent}", "held_out/accuracy"] for percent in STEPS
    ],
    "report": [
      "held_out/accuracy",
      "place/accuracy/context",
      "place/accuracy/hidden",
      "place/loss",
    ],
    "seeds": 3,
    "first_seed": 10,
  }
