"""Does MDiff4STR's noising pay? Random masking, the six strategies, token replacement.

  mdm claim configs/claims/mdiff4str.py --workdir runs/claim   # ~40 min, 2 cores

Same network, data, seeds and number of images in every arm; read with one pass (pd),
three passes (lc), one pass per letter (ar) and cloze refinement; on plain images and on
images of which a bar of one eighth of the width is hidden; and the share of wrong
letters that one look at the image mends (repair).
"""

STEPS = 3_072
RANDOM_ONLY = "method.strategy_weights=[0, 0, 0, 0, 0, 1]"
NO_REPLACEMENT = "method.replacement_weight=0.0"


def words(**settings):
  return {"name": "words", "split": "test", **settings}


def get_config():
  evaluations = {
    "pd": words(decoder="pd"),
    "lc": words(decoder="lc", num_steps=3),
    "ar": words(decoder="ar"),
    "cloze": words(decoder="cloze"),
    "occluded": words(decoder="lc", num_steps=3, occlude=0.125),
    "repair": {"name": "repair", "split": "test"},
  }
  return {
    "title": "MDiff4STR: six strategies read better than random masking alone; token "
    "replacement teaches to mend wrong letters.",
    "base": "configs/diffusion/mdiff4str_tiny.py",
    "shared": [
      f"train.steps={STEPS}",
      f"method.ctc_steps={STEPS}",
      f"eval={evaluations!r}",
    ],
    "arms": {
      "A random": [RANDOM_ONLY, NO_REPLACEMENT],
      "B six": [NO_REPLACEMENT],
      "C six + replacement": [],
    },
    "compare": [
      ["B six", "A random", "pd/accuracy"],
      ["B six", "A random", "lc/accuracy"],
      ["B six", "A random", "cloze/accuracy"],
      ["C six + replacement", "B six", "lc/accuracy"],
      ["C six + replacement", "B six", "occluded/accuracy"],
      ["C six + replacement", "B six", "repair/rate"],
      ["C six + replacement", "A random", "repair/rate"],
    ],
    "report": [
      "pd/accuracy",
      "lc/accuracy",
      "ar/accuracy",
      "cloze/accuracy",
      "occluded/accuracy",
      "repair/rate",
      "repair/kept",
    ],
    "seeds": 3,
  }
