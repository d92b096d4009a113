"""Commands on the machine: bench, doctor."""

import argparse
from typing import Any

from mdm.cli.output import print_numbers, write_result


def add_commands(add: Any) -> None:
  """Their parsers; `add` makes one with the options that all share."""
  bench = add(
    "bench",
    bench_command,
    "measure the loop against the bare step, or rendering",
    "mdm bench step configs/diffusion/mdiff4str_tiny.py",
  )
  bench.add_argument("what", choices=("step", "rendering"))
  bench.add_argument("config", nargs="?")
  bench.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
  bench.add_argument("--steps", type=int, default=30, help="steps per round")
  bench.add_argument("--rounds", type=int, default=7)
  add(
    "doctor",
    doctor_command,
    "what is installed, which devices, what is missing",
    "mdm doctor",
  )


def bench_command(args: argparse.Namespace) -> None:
  """`mdm bench`."""
  from mdm import api

  if args.what == "step" and not args.config:
    raise ValueError("mdm bench step needs a config; give its path.")
  numbers = (
    api.bench_step(args.config, args.set, steps=args.steps, rounds=args.rounds)
    if args.what == "step"
    else api.bench_rendering()
  )
  print_numbers(numbers)
  write_result(args, numbers)


def doctor_command(args: argparse.Namespace) -> int:
  """`mdm doctor`."""
  from mdm import doctor

  report = doctor.examine()
  print(doctor.describe(report))
  write_result(args, report)
  return 0 if not report["missing"] else 1
