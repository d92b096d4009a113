"""The command plot: a model at work, or every mask there is, as a picture."""

import argparse
from typing import Any

from mdm.cli.output import write_result
from mdm.cli.reading import add_decoding, add_hearing, read_decoding, read_hearing
from mdm.cli.writing import add_sampling, read_sampling


def add_commands(add: Any) -> None:
  """Its parser; `add` makes one with the options that all share."""
  plot = add(
    "plot",
    plot_command,
    "draw how images are read, filled in, put together or named, or how a text or an "
    "image appears, pass by pass; of speech what is hidden, its codes, or letters as "
    "they come; questions and answers; or every mask there is (`mdm plot masks`)",
    "mdm plot runs/reader word.png --out denoising.png",
    "mdm plot runs/mae --out filled.png",
    'mdm plot runs/text --prompt "in the beginning" --out text.gif',
    "mdm plot masks --out masks.png",
  )
  plot.add_argument(
    "run_folder", metavar="RUN", help="a run, or `masks` (a run so named: ./masks)"
  )
  plot.add_argument(
    "--out", help="a .png (denoising.png, masks.png); text or images in a .gif move"
  )
  plot.add_argument(
    "--count",
    type=int,
    help="test images to take (6), images to fill in or put together (8) or name (12), "
    "clips (3), texts to write (1), images to draw or questions to answer (4), or "
    "examples of each mask (3)",
  )
  add_decoding(plot.add_argument_group("readers"))
  add_hearing(plot)
  plot.add_argument(
    "--text", help="what the one recording says: CTC shows where (of a split: known)"
  )
  add_sampling(plot)


def plot_command(args: argparse.Namespace) -> None:
  """`mdm plot`."""
  from mdm import api

  given = read_decoding(args) | read_hearing(args) | read_sampling(args)
  if args.text is not None:
    given["text"] = args.text
  if args.run_folder == "masks":
    _plot_masks(args, given)
    return
  out = args.out or "denoising.png"
  api.plot(args.run_folder, args.files, out, count=args.count, **given)
  print(f"wrote {out}")
  write_result(args, {"picture": out})


def _plot_masks(args: argparse.Namespace, given: dict[str, Any]) -> None:
  """`mdm plot masks`."""
  from mdm import api

  if args.files:
    raise ValueError("`mdm plot masks` reads no images; leave them out.")
  out = args.out or "masks.png"
  names = api.plot_masks(
    out, **given | ({} if args.count is None else {"count": args.count})
  )
  print(f"wrote {out}: {len(names)} masks")
  write_result(args, {"picture": out, "masks": names})
