"""The command that compiles without training: compile."""

import argparse
import sys
from pathlib import Path
from typing import Any

from mdm.cli.options import add_overrides
from mdm.cli.output import write_result


def add_commands(add: Any) -> None:
  """Its parser; `add` makes one with the options that all share."""
  command = add(
    "compile",
    compile_command,
    "compile a config's step for devices that need not be there: does it fit, what "
    "does it send, how fast can it be",
    "mdm compile configs/diffusion/md4_owt.py --devices 8 --chip v5p --table",
    "mdm compile configs/diffusion/md4_owt.py --scaling 8,64 --chip v5p",
    "mdm compile configs/text/doge_20m.py --platform tpu",
    "mdm compile configs/diffusion/md4_owt.py --topology v5e:4x4    # needs libtpu",
  )
  command.add_argument(
    "config",
    help="a config file; or a folder of them, for a table: of all with --devices or "
    "--topology, else of what their headers say; --json FILE keeps rows that are done",
  )
  command.add_argument(
    "--devices", type=int, help="CPU devices that stand for accelerators"
  )
  command.add_argument(
    "--topology", metavar="CHIP:SHAPE", help="TPUs, as v5e:4x4; needs libtpu"
  )
  command.add_argument("--chip", help="what CPU devices stand for, as h100 or v5p")
  command.add_argument(
    "--table", action="store_true", help="show where each parameter lies"
  )
  command.add_argument(
    "--scaling",
    metavar="WHERE,...",
    help="the same for each of 8,64,... devices, or v5p:2x2x2,v5p:4x4x4,...; the batch "
    "grows from that of the first",
  )
  command.add_argument(
    "--platform",
    choices=("tpu", "cuda"),
    help="lower the step for it and do not compile: needs nothing of it",
  )
  command.add_argument(
    "--what",
    choices=("step", "sample"),
    default="step",
    help="the training step, or what the trained model is asked for: to sample, read "
    "or write down (default: step)",
  )
  command.add_argument(
    "--rows", type=int, help="sampled at once, over all devices (default: one each)"
  )
  command.add_argument(
    "--unchecked",
    action="store_true",
    help="tell also of what the memory of --chip does not hold",
  )
  add_overrides(command)


def compile_command(args: argparse.Namespace) -> None:
  """`mdm compile`."""
  from mdm import api

  if args.scaling is not None:
    compile_scaling_command(args)
    return
  if Path(args.config).is_dir() and not (Path(args.config) / "config.json").exists():
    compile_folder_command(args)
    return
  if args.platform is not None:
    lower_command(args)
    return
  found = api.compile_config(
    args.config,
    devices=args.devices,
    topology=args.topology,
    chip=args.chip,
    overrides=args.set,
    checks=not args.unchecked,
    what=args.what,
    rows=args.rows,
  )
  print("\n".join(found.describe(table=args.table)))
  write_result(args, found.to_json())


def lower_command(args: argparse.Namespace) -> None:
  """`mdm compile --platform`."""
  from mdm import api

  for name in ("topology", "chip", "rows"):
    if getattr(args, name) is not None:
      raise ValueError(
        f"--platform {args.platform} lowers the step and compiles nothing; leave out "
        f"--{name} {getattr(args, name)}."
      )
  found = api.lower_config(
    args.config, args.platform, devices=args.devices, overrides=args.set
  )
  print("\n".join(found.describe()))
  write_result(args, found.to_json())


def compile_folder_command(args: argparse.Namespace) -> None:
  """`mdm compile FOLDER`."""
  from mdm.api import compile_tables

  jobs = compile_tables.find_jobs(Path(args.config), _given(args))
  rows = _compile_rows(args, jobs)
  print(compile_tables.draw_table(rows))
  compile_tables.check_rows(rows)


def compile_scaling_command(args: argparse.Namespace) -> None:
  """`mdm compile --scaling`."""
  from mdm.api import compile_scaling, compile_tables
  from mdm.training import config

  for name in ("devices", "topology"):
    if getattr(args, name) is not None:
      raise ValueError(
        f"--scaling {args.scaling} says the devices; leave out --{name} "
        f"{getattr(args, name)}."
      )
  names = args.scaling.split(",")
  jobs = compile_scaling.find_scaling(config.find(args.config), names, _given(args))
  rows = _compile_rows(args, jobs)
  print(compile_scaling.draw_scaling(rows))
  compile_tables.check_rows(rows)


def _compile_rows(args: argparse.Namespace, jobs: Any) -> list[dict[str, Any]]:
  """The row of each job; how far they are is told aside."""
  from mdm.api import compile_tables

  store = None if args.json in (None, "-") else Path(args.json)
  rows = []
  for number, row in enumerate(compile_tables.compile_jobs(jobs, store), 1):
    told = row.get("error", "done")
    print(f"{number} of {len(jobs)}  {jobs[number - 1]}: {told}", file=sys.stderr)
    rows.append(row)
  if store is None:
    write_result(args, {str(job): row for job, row in zip(jobs, rows, strict=True)})
  return rows


def _given(args: argparse.Namespace) -> list[str]:
  """The options that go with every config of a folder."""
  named = {"--devices": args.devices, "--topology": args.topology, "--chip": args.chip}
  if args.what != "step":
    named |= {"--what": args.what, "--rows": args.rows}
  given = [word for k, x in named.items() if x is not None for word in (k, str(x))]
  sets = [word for setting in args.set for word in ("--set", setting)]
  return [*given, *sets, *(["--unchecked"] if args.unchecked else [])]
