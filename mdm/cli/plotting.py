"""The command plot: a model at work, as a picture."""

import argparse
from typing import Any

from mdm.cli.output import write_result
from mdm.cli.reading import add_decoding, read_decoding
from mdm.cli.writing import add_sampling, read_sampling


def add_commands(add: Any) -> None:
  """Its parser; `add` makes one with the options that all share."""
  plot = add(
    "plot",
    plot_command,
    "draw how images are read, or how a text or an image appears, pass by pass",
    'mdm plot runs/text --prompt "in the beginning" --out text.gif',
  )
  plot.add_argument("run_folder", metavar="RUN")
  plot.add_argument(
    "--out", default="denoising.png", help="a .png; text or images in a .gif move"
  )
  plot.add_argument(
    "--count",
    type=int,
    help="test images to take (6), texts to write (1) or images to draw (4)",
  )
  add_decoding(plot.add_argument_group("readers"))
  add_sampling(plot)


def plot_command(args: argparse.Namespace) -> None:
  """`mdm plot`."""
  from mdm import api

  given = read_decoding(args) | read_sampling(args)
  api.plot(args.run_folder, args.images, args.out, count=args.count, **given)
  print(f"wrote {args.out}")
  write_result(args, {"picture": args.out})
