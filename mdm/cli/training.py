"""Commands of runs: train, eval, export, claim."""

import argparse
import os
import signal
from collections.abc import Mapping
from typing import Any

from mdm.cli.options import add_overrides, add_run
from mdm.cli.output import print_numbers, write_result


def add_commands(add: Any) -> None:
  """Their parsers; `add` makes one with the options that all share."""
  _add_train(add)
  _add_eval(add)
  _add_export(add)
  _add_claim(add)


def _add_train(add: Any) -> None:
  """Of `mdm train`."""
  train = add(
    "train",
    train_command,
    "train a config; again to resume",
    "mdm train configs/diffusion/mdiff4str_tiny.py --workdir runs/reader",
    "mdm train image/mae_folder --workdir runs/mae --set data.folder=photos",
    "mdm train image/mae_cifar10 --find-lr --out rates.png",
  )
  train.set_defaults(joins=True)
  train.add_argument(
    "config", help="a config file, or the name of one that comes with mdm"
  )
  train.add_argument("--workdir", help="folder of the run; --find-lr needs none")
  add_overrides(train)
  train.add_argument(
    "--profile",
    action="store_true",
    help="trace steps 5 to 10 from here on, into WORKDIR/profile",
  )
  train.add_argument(
    "--find-lr",
    action="store_true",
    help="train no run, but try rising learning rates from a fresh state and suggest "
    "one: a tenth of that whose smoothed loss is least",
  )
  train.add_argument("--out", metavar="PNG", help="with --find-lr: draw the losses")


def _add_eval(add: Any) -> None:
  """Of `mdm eval`."""
  evaluate = add(
    "eval",
    eval_command,
    "run a run's evaluations",
    "mdm eval runs/reader --json numbers.json",
    "mdm eval runs/reader --set eval.words.num_steps=5",
  )
  evaluate.set_defaults(joins=True)
  add_run(evaluate)
  evaluate.add_argument("--step", type=int, help="checkpoint (default: newest)")
  add_overrides(evaluate, "override a setting, as in eval.words.num_steps=5")


def _add_export(add: Any) -> None:
  """Of `mdm export`."""
  export = add(
    "export",
    export_command,
    "write a run's weights, config and card",
    "mdm export runs/reader weights/reader --dtype bfloat16",
    "mdm export runs/mae weights/mae --layout mae",
  )
  add_run(export)
  export.add_argument("folder", metavar="DIR", help="folder to write")
  export.add_argument("--dtype", default="float32", help="float32 or bfloat16")
  export.add_argument("--step", type=int, help="checkpoint (default: newest)")
  export.add_argument(
    "--metrics",
    action="append",
    default=[],
    metavar="FILE",
    help="what mdm bench reader --json FILE wrote, for the card",
  )
  export.add_argument(
    "--note",
    action="append",
    default=[],
    metavar="TEXT",
    help="a sentence on the training, for the card",
  )
  export.add_argument("--force", action="store_true", help="replace files there")
  export.add_argument(
    "--layout", metavar="NAME", help="as mae, vit, bert: as their published files"
  )


def _add_claim(add: Any) -> None:
  """Of `mdm claim`."""
  claim = add(
    "claim",
    claim_command,
    "train A against B with seeds and compare",
    "mdm claim configs/claims/mdiff4str.py --workdir runs/claim",
    "mdm claim configs/claims/mae.py --workdir runs/mae --first-seed 2 --seeds 1",
  )
  claim.set_defaults(joins=True)
  claim.add_argument("config", help="a claim's file")
  claim.add_argument("--workdir", required=True, help="folder of its runs")
  claim.add_argument("--seeds", type=int, help="number of seeds")
  claim.add_argument(
    "--first-seed",
    type=int,
    metavar="SEED",
    help="the first one (default: the claim's)",
  )
  claim.add_argument(
    "--report", metavar="FILE", help="page to write (default: WORKDIR/report.html)"
  )
  add_overrides(claim, "override a setting of every arm, as in train.steps=100")


def train_command(args: argparse.Namespace) -> int:
  """`mdm train`.

  Raises:
    ValueError: no folder to train in, or a picture without a sweep.
  """
  if args.find_lr:
    return find_rate_command(args)
  if args.workdir is None:
    raise ValueError("mdm train needs --workdir, the folder of the run; name one.")
  if args.out is not None:
    raise ValueError("--out is the picture of --find-lr; give both, or neither.")
  from mdm.training.clock import Clock, process_age

  clock = Clock(process_age() if args.is_own_process else 0.0)
  from mdm import api

  asked_to_stop = read_stopped_status()
  outcome = api.train(
    args.config,
    args.workdir,
    overrides=args.set,
    clock=clock,
    is_profiled=args.profile,
  )
  step = int(outcome.state.step)
  if outcome.left_out:
    counts = ", ".join(f"{n} {reason}" for reason, n in outcome.left_out.items())
    print(f"left out of the training data: {counts.replace('_', ' ')}")
  if outcome.stopped is not None:
    print(f"stopped and saved at step {step}; the same command resumes.")
    print(describe_times(outcome.times))
    return 130 if outcome.stopped == signal.SIGINT else asked_to_stop
  print(f"done: {step} steps in {args.workdir}")
  print_numbers(outcome.metrics)
  times = outcome.times
  print(describe_times(times))
  result = {"step": step, "metrics": outcome.metrics, "times": times}
  write_result(args, result | {"left_out": dict(outcome.left_out)})
  return 0


def find_rate_command(args: argparse.Namespace) -> int:
  """`mdm train --find-lr`.

  Raises:
    ValueError: there are several processes, or a trace is asked for.
  """
  from mdm import api
  from mdm.training import processes

  processes.check_alone("mdm train --find-lr")
  if args.profile:
    raise ValueError("--profile traces a training, not --find-lr; leave one out.")
  found = api.find_rate(args.config, overrides=args.set, out=args.out)
  print_numbers({k: f"{found[k]:.3g}" for k in ("rate", "least", "steepest")})
  if not found["has_risen"]:
    print("the loss was still falling at the highest rate: a higher one may do too.")
  print(f"--set optimizer.learning_rate={found['rate']:.2g}")
  write_result(args, found)
  return 0


def describe_times(times: Mapping[str, float]) -> str:
  """Where the time went: of this stretch by bucket, of several as their sum."""
  buckets = [name for name in times if name.startswith("time/") and name[-2:] == "_s"]
  told = ", ".join(f"{n[5:-2]} {times[n]:.1f}" for n in buckets if n != "time/wall_s")
  text = (
    f"wall {times['time/wall_s']:.1f} s: {told}; "
    f"goodput {100 * times['time/goodput']:.0f}%"
  )
  if times.get("whole/stretches", 1) < 2:
    return text
  return (
    f"{text}\nall {times['whole/stretches']:.0f} stretches: "
    f"wall {times['whole/wall_s']:.1f} s, goodput {100 * times['whole/goodput']:.0f}%"
  )


def read_stopped_status() -> int:
  """The exit status after SIGTERM: `MDM_STOPPED_STATUS`, or 0.

  What starts trainings on machines that may be taken away sets it, to tell a training
  that was stopped, and saved, from one that is done.

  Raises:
    ValueError: it is no exit status.
  """
  text = os.environ.get("MDM_STOPPED_STATUS") or "0"
  if not text.isdecimal() or int(text) > 255:
    raise ValueError(
      f"MDM_STOPPED_STATUS = {text} is no exit status; write a number up to 255."
    )
  return int(text)


def eval_command(args: argparse.Namespace) -> None:
  """`mdm eval`; each of several processes asks all, the first prints."""
  from mdm import api

  if args.has_peers:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # JAX took it, for trainings
  numbers = api.evaluate(args.run_folder, step=args.step, overrides=args.set)
  print_numbers(numbers)
  write_result(args, numbers)


def export_command(args: argparse.Namespace) -> None:
  """`mdm export`."""
  from mdm import api

  report = api.export(
    args.run_folder,
    args.folder,
    dtype=args.dtype,
    step=args.step,
    metrics=args.metrics,
    notes=args.note,
    force=args.force,
    layout=args.layout,
  )
  print_numbers(report)
  write_result(args, report)


def claim_command(args: argparse.Namespace) -> None:
  """`mdm claim`.

  Raises:
    ValueError: there are several processes.
  """
  from mdm import api
  from mdm.training import processes

  processes.check_alone("mdm claim")
  page = args.report or os.path.join(args.workdir, "report.html")
  report = api.claim(
    args.config,
    args.workdir,
    seeds=args.seeds,
    first_seed=args.first_seed,
    overrides=args.set,
    report=page,
  )
  print(report.text)
  print(f"\nwrote {page}")
  write_result(args, report.record)
