"""Commands that read images: predict, plot."""

import argparse
from typing import Any

from mdm.cli.output import write_result


def add_commands(add: Any) -> None:
  """Their parsers; `add` makes one with the options that all share."""
  predict = add(
    "predict",
    predict_command,
    "read images",
    "mdm predict runs/reader word.png --decoder ar",
  )
  plot = add(
    "plot",
    plot_command,
    "draw how images are read, pass by pass",
    "mdm plot runs/reader word.png --out denoising.png",
  )
  for command in (predict, plot):
    command.add_argument("run_folder", metavar="RUN")
    command.add_argument(
      "--decoder",
      default="lc",
      metavar="NAME",
      help="pd, ar, lc, blc, random or cloze (mdm/decoding)",
    )
    command.add_argument("--num-steps", type=int, default=3)
    command.add_argument(
      "--final-reflect",
      action="store_true",
      help="re-read every character once more at the end",
    )
    command.add_argument(
      "images",
      nargs="*",
      metavar="IMAGE",
      help="images (default: some of the run's test split)",
    )
    command.add_argument("--count", type=int, default=6, help="test images to take")
  plot.add_argument("--out", default="denoising.png")


def predict_command(args: argparse.Namespace) -> None:
  """`mdm predict`."""
  from mdm import api

  readings = api.predict(
    args.run_folder, args.images, count=args.count, **_decoding(args)
  )
  for reading in readings:
    sure = " ".join(f"{c}:{p:.2f}" for c, p in reading.characters)
    truth = "" if reading.truth is None else f"\ttruth {reading.truth}"
    text = reading.text or "(no text)"
    print(f"{reading.source}\t{text}\t{reading.confidence:.3f}\t{sure}{truth}")
  write_result(args, [reading.to_json() for reading in readings])


def plot_command(args: argparse.Namespace) -> None:
  """`mdm plot`."""
  from mdm import api

  api.plot(args.run_folder, args.images, args.out, count=args.count, **_decoding(args))
  print(f"wrote {args.out}")
  write_result(args, {"picture": args.out})


def _decoding(args: argparse.Namespace) -> dict[str, Any]:
  return {
    "decoder": args.decoder,
    "num_steps": args.num_steps,
    "final_reflect": args.final_reflect,
  }
