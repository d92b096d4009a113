"""The command `mdm data`."""

import argparse
from typing import Any

from mdm.cli.options import add_overrides
from mdm.cli.output import print_numbers, write_result

ACTIONS = ("list", "build", "show", "check")


def add_commands(add: Any) -> None:
  """Their parsers; `add` makes one with the options that all share."""
  data = add(
    "data",
    data_command,
    "list, build, show or check data sets, or check an image, a sound or texts",
    "mdm data list",
    "mdm data build configs/diffusion/mdiff4str_tiny.py",
    "mdm data show configs/diffusion/mdiff4str_tiny.py --out words.png",
    "mdm data check photo.png",
  )
  data.add_argument("action", choices=ACTIONS, help="what to do")
  data.add_argument(
    "name", nargs="?", help="data set, config whose data is meant, or file"
  )
  add_overrides(data, "override a setting, as in data.folder=photos")
  data.add_argument("--force", action="store_true", help="build again what is there")
  data.add_argument(
    "--out",
    default="data.png",
    help="picture written by show, where examples are images",
  )
  data.add_argument("--split", default="train", help="part shown (default: train)")


def data_command(args: argparse.Namespace) -> None:
  """`mdm data`."""
  from mdm import api

  if args.action == "list":
    sets = api.list_data()
    for name, text in sets.items():
      print(f"{name:16} {text}")
    write_result(args, sets)
    return
  if not args.name:
    raise ValueError(
      f"mdm data {args.action} needs the name of a data set or a config."
    )
  if args.action == "check":
    info = api.check_data(args.name, overrides=args.set)
    print_numbers(info)
    write_result(args, info)
  elif args.action == "build":
    info = api.build_data(args.name, overrides=args.set, force=args.force)
    print_numbers(info)
    write_result(args, info)
  else:
    shown = api.show_data(args.name, args.out, split=args.split, overrides=args.set)
    for record in shown:
      print(f"{record['name']}, {record['num_tokens']} tokens:\n{record['text']}\n")
    if not shown:
      print(f"wrote {args.out}")
    write_result(args, shown or {"picture": args.out})
