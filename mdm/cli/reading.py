"""The command predict: reads images."""

import argparse
from typing import Any

from mdm.cli.output import write_result


def add_commands(add: Any) -> None:
  """Its parser; `add` makes one with the options that all share."""
  predict = add(
    "predict",
    predict_command,
    "read images",
    "mdm predict runs/reader word.png --decoder ar",
  )
  predict.add_argument("run_folder", metavar="RUN")
  add_decoding(predict)
  predict.add_argument("--count", type=int, default=6, help="test images to take")


def add_decoding(command: Any) -> None:
  """The options of reading, without defaults: those are the library's."""
  command.add_argument(
    "--decoder",
    metavar="NAME",
    help="pd, ar, lc, blc, random or cloze (mdm/decoding; default: lc)",
  )
  command.add_argument("--num-steps", type=int, help="passes (default: 3)")
  command.add_argument(
    "--final-reflect",
    action="store_true",
    default=None,
    help="re-read every character once more at the end",
  )
  command.add_argument(
    "images",
    nargs="*",
    metavar="IMAGE",
    help="images (default: some of the run's test split)",
  )


def read_decoding(args: argparse.Namespace) -> dict[str, Any]:
  """The options of `add_decoding` that were given."""
  names = ("decoder", "num_steps", "final_reflect")
  found = {name: getattr(args, name) for name in names}
  return {name: value for name, value in found.items() if value is not None}


def predict_command(args: argparse.Namespace) -> None:
  """`mdm predict`."""
  from mdm import api

  readings = api.predict(
    args.run_folder, args.images, count=args.count, **read_decoding(args)
  )
  for reading in readings:
    sure = " ".join(f"{c}:{p:.2f}" for c, p in reading.characters)
    truth = "" if reading.truth is None else f"\ttruth {reading.truth}"
    text = reading.text or "(no text)"
    print(f"{reading.source}\t{text}\t{reading.confidence:.3f}\t{sure}{truth}")
  write_result(args, [reading.to_json() for reading in readings])
