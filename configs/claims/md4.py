"""Mask diffusion beside autoregression; few steps against many; hiding again.

  mdm claim configs/claims/md4.py --workdir runs/claim_md4   # ~40 min, 1 core

Same network, text, seeds and number of examples in both arms; bits per character of
the King James Bible's held-out chapters, exact from left to right, a bound for MD4.
MD4's samples are judged by the first seed's autoregressive model (bits per character)
and by their own entropy, which together fall when samples repeat themselves.
"""

JUDGE = "runs/claim_md4/AR-0"
TEXT = {"name": "likelihood", "split": "test", "limit": 1_024, "num_strata": 32}


def samples(sampler, num_steps, **settings):
  return {
    "name": "samples",
    "sampler": sampler,
    "num_steps": num_steps,
    "num": 128,
    "batch": 128,
    "judge": JUDGE,
    **settings,
  }


def get_config():
  judged = {
    "text": TEXT,
    "plain_4": samples("ancestral", 4),
    "plain_16": samples("ancestral", 16),
    "plain_64": samples("ancestral", 64),
    "plain_256": samples("ancestral", 256),
    "hiding_64": samples("remdm_cap", 64, eta=0.02, top_p=0.9),
    "hiding_256": samples("remdm_cap", 256, eta=0.02, top_p=0.9),
    "nucleus_64": samples("ancestral", 64, top_p=0.9),
    "nucleus_256": samples("ancestral", 256, top_p=0.9),
    "one_by_one": samples("first_hitting", 64),
    "surest_64": samples("low_confidence", 64),
  }
  bits, entropy = "bits_per_char", "entropy_bits"
  return {
    "title": "Mask diffusion: its bound beside an autoregressive twin; more steps "
    "write better text; hiding again (ReMDM) turns further steps into quality.",
    "base": "configs/diffusion/md4_chars.py",
    "shared": [
      "train.steps=3000",
      "train.batch=32",
      "model.network.width=96",
      "model.network.depth=3",
      "model.network.heads=3",
    ],
    "arms": {
      "AR": [
        "method={'name': 'text.causal_lm'}",
        "model.network.is_causal=True",
        f"eval={{'text': {TEXT!r}}}",
      ],
      "MD4": [f"eval={judged!r}"],
    },
    "compare": [
      ["MD4", "AR", "text/bits_per_char"],
      ["MD4", "MD4", f"plain_4/{bits}", f"plain_64/{bits}"],
      ["MD4", "MD4", f"plain_64/{bits}", f"plain_256/{bits}"],
      ["MD4", "MD4", f"nucleus_64/{bits}", f"hiding_64/{bits}"],
      ["MD4", "MD4", f"nucleus_256/{bits}", f"hiding_256/{bits}"],
      ["MD4", "MD4", f"nucleus_256/{entropy}", f"hiding_256/{entropy}"],
      ["MD4", "MD4", f"plain_64/{bits}", f"surest_64/{bits}"],
      ["MD4", "MD4", f"plain_64/{entropy}", f"surest_64/{entropy}"],
    ],
    "report": [
      "text/bits_per_char",
      *(f"{name}/{number}" for name in judged if name != "text"
        for number in (bits, entropy)),
      f"plain_64/real_{bits}",
      f"plain_64/real_{entropy}",
    ],
    "seeds": 3,
  }  # fmt: skip
