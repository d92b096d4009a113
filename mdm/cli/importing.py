"""The command import: published weights become ours."""

import argparse
from typing import Any

from mdm.cli.options import add_overrides
from mdm.cli.output import print_numbers, write_result


def add_commands(add: Any) -> None:
  """Its parser; `add` makes one with the options that all share."""
  command = add(
    "import",
    import_command,
    "write published weights as exported ones: MAE (a .pth or .safetensors file), or "
    "a folder with a config.json of a known model_type (BERT, ViT, ViTMAE, Doge ...)",
    "mdm import mae_pretrain_vit_base.pth runs/mae_vit_b",
    "mdm import all-MiniLM-L6-v2 models/minilm",
  )
  command.add_argument("source", metavar="FILE", help="a file, or a folder")
  command.add_argument("folder", metavar="DIR", help="folder to write")
  command.add_argument(
    "--layout", metavar="NAME", help="as vit, bert, mae (default: what FILE is)"
  )
  command.add_argument("--heads", type=int, help="of an encoder of unpublished width")
  command.add_argument("--decoder-heads", type=int, help="likewise of a decoder")
  add_overrides(command, "a setting of the config, as method.norm_pixels=False")
  command.add_argument("--force", action="store_true", help="replace files there")


def import_command(args: argparse.Namespace) -> None:
  """`mdm import`."""
  from mdm import api

  report = api.import_weights(
    args.source,
    args.folder,
    layout=args.layout,
    overrides=args.set,
    heads=args.heads,
    decoder_heads=args.decoder_heads,
    force=args.force,
  )
  print_numbers(report)
  write_result(args, report)
