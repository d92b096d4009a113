"""The command `mdm results`."""

import argparse
from typing import Any

from mdm.cli.output import write_result


def add_commands(add: Any) -> None:
  """Its parser; `add` makes one with the options that all share."""
  results = add(
    "results",
    results_command,
    "write RESULTS.md from the results stored in configs/results",
    "mdm results",
    "mdm results --check",
    "mdm results --add numbers.json --section mae",
  )
  results.add_argument(
    "--check", action="store_true", help="fail if the page is another, and write none"
  )
  results.add_argument(
    "--add", metavar="FILE", help="what a claim or a benchmark wrote with --json"
  )
  results.add_argument(
    "--section", metavar="NAME", help="of --add: the claim's name, or a section's"
  )
  results.add_argument("--folder", default="configs/results", help="stored results")
  results.add_argument("--out", default="RESULTS.md", help="the page")


def results_command(args: argparse.Namespace) -> None:
  """`mdm results`.

  Raises:
    ValueError: `--add` without `--section`, or with `--check`.
  """
  from mdm import api

  if (args.add is None) != (args.section is None):
    raise ValueError("--add FILE and --section NAME go together; give both.")
  if args.check and args.add:
    raise ValueError("--check changes nothing; leave --add out, or --check.")
  stored = None
  if args.check:
    api.check_results(args.folder, args.out)
  elif args.add:
    stored = api.add_result(args.add, args.section, folder=args.folder, out=args.out)
    print(f"stored {stored}")
  else:
    api.write_results(args.folder, args.out)
  print(f"{args.out} is what {args.folder} makes")
  write_result(args, {"page": args.out, "stored": stored})
