"""Multiple choice of patches, then names: pretrained against supervised, few labels.

  mdm claim configs/claims/selfie.py --workdir runs/claim_selfie   # ~45 min, 1 core

Stem and three groups of a small ResNet learn, once per seed and without labels, which
patch fills a gap; `choice` is how often they are right on held-out images (25% by
chance). Then a fourth group is added, fresh, and all is trained on 5% of the labels, as
is a network from scratch. Accuracy is on 5,000 held-out images.
"""

ENCODER = {
  "name": "resnet.ResNet",
  "widths": [16, 32, 64, 128],
  "depths": [1, 1, 1, 1],
  "block": "basic",
  "stem": "small",
}
LEARNED = [f"encoder/{part}" for part in ("stem", "stage_1", "stage_2", "stage_3")]
INIT = {"run": "{chooses}", "parts": {part: part for part in LEARNED}}


def get_config():
  chooses = {
    "base": "configs/image/selfie_cifar10.py",
    "set": [
      "train.steps=1500",
      "eval={'choice': {'name': 'losses', 'limit': 2000}}",
    ],
  }
  supervised = {
    name: [
      f"model.encoder={ENCODER!r}",
      f"init={init!r}",
      "data.label_share=0.05",
      "train.steps=300",
      "method.mixup=0.0",
      "method.cutmix=0.0",
      "optimizer.layer_decay=1.0",
    ]
    for name, init in (("selfie_5", INIT), ("supervised_5", {}))
  }
  return {
    "title": "Choosing patches first helps where labels are few.",
    "base": "configs/image/finetune_cifar10.py",
    "shared": [
      "train.batch=64",
      "train.checkpoint_every='100%'",
      "train.eval_every=0",
    ],
    "arms": {"chooses": chooses, **supervised},
    "compare": [["selfie_5", "supervised_5", "held_out/accuracy"]],
    "report": ["held_out/accuracy", "choice/accuracy", "choice/loss"],
    "seeds": 3,
    "first_seed": 10,
  }
