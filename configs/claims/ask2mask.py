r"""Masks by a recogniser's confidence against random ones, on clean and spoiled speech.

  mdm claim configs/claims/ask2mask.py --workdir runs/claim_ask2mask   # hours, 1 core

The scorer learns to write English prompts by CTC. Matched: encoders are pretrained on
those prompts. Mismatched (`_far`): half of the clips are speech under noise of 5 dB
more, tones, or silence. All hide 40% of the frames. Then each learns to write English
as the scorer did; errors are on texts that no arm has seen or heard. `clean` and
`spoiled` are held-out clips, the latter all spoiled.
"""

INIT = {part: part for part in ("subsample", "encoder", "feature_norm")}
SCORER = {"run": "{scorer}", "parts": {"scorer": ""}}
RANDOM = ["method.guided=False", "method.mask_rule=exact", "method.mask_ratio=0.4"]
PRETRAINED = {
  "random": [*RANDOM, "data.noise_share=0.0"],
  "guided": ["data.noise_share=0.0"],
  "random_far": RANDOM,
  "guided_far": [],
  "guided_low_far": ["method.prefer=low"],
  "guided_scaled_far": ["method.scales_clips=True"],
}
TUNED = [  # as in w2v_bert.py
  "optimizer.learning_rate=3e-3",
  "method.span=4",
  "method.temperature=(2.0, 0.5, 0.997)",
  "method.target_grad=0.0",
]
WRITTEN = ("random", "guided", "random_far", "guided_far", "guided_scaled_far")

STACK = {
  "name": "conformer.Conformer",
  "width": 96,
  "depth": 2,
  "heads": 4,
  "dropout": 0.1,
}
ENCODER = {"name": "tandem.Tandem", "first": STACK, "second": STACK}


def get_config():
  arms = {
    name: {
      "base": "configs/speech/ask2mask_prompts.py",
      "set": ["train.steps=600", *TUNED, *settings, f"init={SCORER!r}"],
    }
    for name, settings in PRETRAINED.items()
  }
  for name in WRITTEN:
    init = {"run": f"{{{name}}}", "parts": INIT}
    arms[f"{name}_written"] = [
      f"model.encoder={ENCODER!r}",
      "train.steps='40 epochs'",
      f"init={init!r}",
    ]
  return {
    "title": "Hiding what a recogniser is sure of helps where the sound is strange.",
    "base": "configs/speech/ctc_prompts.py",
    "stages": {
      "scorer": {
        "base": "configs/speech/ctc_prompts.py",
        "set": ["train.eval_every=0", "train.checkpoint_every='100%'", "eval={}"],
      },
    },
    "shared": ["train.eval_every=0", "train.checkpoint_every='100%'"],
    "arms": arms,
    "compare": [
      ["random_written", "guided_written", "test/cer"],
      ["random_far_written", "guided_far_written", "test/cer"],
      ["guided_far_written", "guided_scaled_far_written", "test/cer"],
      ["guided_far", "random_far", "clean/loud/hidden"],
      ["guided_low_far", "guided_far", "clean/naming/nats"],
      ["guided_far", "guided_far", "clean/guide/clip", "spoiled/guide/clip"],
    ],
    "report": [
      "test/cer",
      "test/wer",
      "clean/guide/clip",
      "spoiled/guide/clip",
      "clean/guide/divergence",
      "clean/guide/loudness",
      "clean/loud/hidden",
      "clean/loud/seen",
      "clean/codes/perplexity",
      "clean/naming/nats",
    ],
    "seeds": 3,
    "first_seed": 10,
  }
