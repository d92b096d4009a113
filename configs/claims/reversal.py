"""What was learned forwards, asked for backwards: mask diffusion and its AR twin.

  mdm claim configs/claims/reversal.py --workdir runs/claim_reversal   # ~15 min, 1 core

Both learn 230 Bible verses by heart, first half before second. Asked for the second
half by the first, both know it; asked for the first half by the second, the model that
writes from left to right has never seen that order. Held-out verses are the control.
"""


def get_config():
  learned, unseen = (
    {"name": "reversal", "split": split} for split in ("train", "test")
  )
  numbers = [
    f"{part}/{direction}_{number}"
    for part in ("learned", "unseen")
    for direction in ("forward", "backward")
    for number in ("accuracy", "exact")
  ]
  return {
    "title": "A mask diffusion says backwards what it learned forwards; a model that "
    "writes from left to right does not.",
    "base": "configs/diffusion/md4_chars.py",
    "shared": [
      "data={'name': 'kjv_halves', 'count': 256}",
      "train.steps=1500",
      "train.batch=32",
      "model.network.vocab_size=28",
      "model.network.width=96",
      "model.network.depth=3",
      "model.network.heads=3",
      f"eval={dict(learned=learned, unseen=unseen)!r}",
    ],
    "arms": {
      "LLaDA": [
        "method={'name': 'diffusion.llada', 'masking': 'count', 'short_share': 0.0}"
      ],
      "AR": ["method={'name': 'text.causal_lm'}", "model.network.is_causal=True"],
    },
    "compare": [
      ["LLaDA", "AR", "learned/backward_accuracy"],
      ["LLaDA", "AR", "learned/backward_exact"],
      ["LLaDA", "AR", "learned/forward_accuracy"],
      ["LLaDA", "LLaDA", "learned/forward_accuracy", "learned/backward_accuracy"],
      ["AR", "AR", "learned/forward_accuracy", "learned/backward_accuracy"],
    ],
    "report": numbers,
    "seeds": 3,
  }
