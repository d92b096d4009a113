"""Settings that make reference problems small, and an interpreter without PyTorch."""

import sys

SMALL = (
  "model.encoder.width=16",
  "model.encoder.depth=1",
  "model.encoder.heads=2",
  "model.decoder.width=8",
  "model.decoder.depth=1",
  "model.decoder.heads=2",
  "data.image_size=(64, 64)",
  "train.batch=2",
)

SMALL_SPEECH = (
  *(f"model.encoder.{stack}.width=24" for stack in ("first", "second")),
  *(f"model.encoder.{stack}.heads=2" for stack in ("first", "second")),
  *(f"model.encoder.{stack}.depth=1" for stack in ("first", "second")),
  "model.subsample.channels=4",
  "model.quantizer.entries=8",
  "model.quantizer.width=12",
  "method.negatives=5",
  "method.contrast_width=8",
  "data.seconds=0.8",
  "train.batch=2",
)

FAKE = """
import json, sys
KNOWN = {"mae": (0.05, []), "w2v_bert": (0.01, ["encoder", "front"])}
for line in sys.stdin:
  asked = json.loads(line)
  if "open" in asked:
    decay, parts = KNOWN[asked["open"].split("/")[-1].removesuffix("_in_torch.py")]
    told = {"version": asked["dtype"], "device": "cpu", "parameters": asked["batch"]}
    told["parts"] = parts
    assert asked["optimizer"]["weight_decay"] == decay, asked
  elif "time" in asked:
    told = {"seconds": {"step": 8.0, "step_fused": 4.0}.get(asked["time"], 2.0)}
  else:
    told = {"peak_mib": 7.0}
  print(json.dumps(told), flush=True)
"""


def make_fake(folder):
  """A script, and an interpreter in whose PyTorch it answers from a list."""
  for module in ("torch", "transformers"):
    (folder / f"{module}.py").write_text("")
  script, python = folder / "script.py", folder / "python"
  script.write_text(FAKE)
  python.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
  python.chmod(0o755)
  return script, python
