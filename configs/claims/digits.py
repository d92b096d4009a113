r"""Spoken digits by few examples: who has listened to prompts before, and who has not.

  mdm claim configs/claims/digits.py --workdir runs/claim_digits   # ~2 hours, 1 core

An encoder of four blocks learns from prompts of five languages by w2v-BERT. Then it and
one from scratch learn to write digits by CTC, with 10, 50 and all 180 clips of each,
alike and for as many steps. `held_out/wer` is the share of digits misread by a voice
that no arm has heard, `other/wer` by a second one. In the folder of w2v_bert.py it
begins from that claim's pretraining, which is the same.
"""

STEPS = {10: 300, 50: 600, 180: 900}  # of the training with so many clips a digit
INIT = {part: part for part in ("subsample", "encoder", "feature_norm")}
STACK = {
  "name": "conformer.Conformer",
  "width": 96,
  "depth": 2,
  "heads": 4,
  "dropout": 0.1,
}
ENCODER = {"name": "tandem.Tandem", "first": STACK, "second": STACK}
PRETRAINING = [
  "train.steps=1000",
  "train.eval_every=0",
  "train.checkpoint_every='50%'",
  "optimizer.learning_rate=3e-3",
  "method.span=4",
  "method.mask_rate=0.13",
  "method.temperature=(2.0, 0.5, 0.997)",
  "method.target_grad=0.0",
]
EVAL = {
  "held_out": {"name": "transcripts", "split": "test", "batch": 50},
  "other": {"name": "transcripts", "split": "validation", "batch": 50},
}


def get_config():
  arms, starts = {}, {"scratch": {}, "w2v": {"run": "{w2v_pretrained}", "parts": INIT}}
  for clips, steps in STEPS.items():
    for start, init in starts.items():
      arms[f"{start}_{clips}"] = [
        f"data.label_share={clips / 180}",
        f"train.steps={steps}",
        f"init={init!r}",
      ]
  return {
    "title": "Who has listened to prompts before needs fewer digits to write them.",
    "base": "configs/speech/ctc_digits.py",
    "stages": {
      "w2v_pretrained": {
        "base": "configs/speech/w2v_bert_prompts.py",
        "set": PRETRAINING,
      },
    },
    "shared": [
      f"model.encoder={ENCODER!r}",
      "model.subsample={'name': 'subsample.ConvSubsampling'}",
      f"eval={EVAL!r}",
      "train.eval_every=0",
      "train.checkpoint_every='100%'",
    ],
    "arms": arms,
    "compare": [
      [f"scratch_{clips}", f"w2v_{clips}", f"{voice}/wer"]
      for clips in STEPS
      for voice in ("held_out", "other")
    ],
    "report": ["held_out/wer", "other/wer", "held_out/cer", "other/cer"],
    "seeds": 3,
    "first_seed": 10,
  }
