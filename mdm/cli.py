"""The command line, `mdm COMMAND ...`: parses, calls `mdm.api`, prints; no logic here.

Heavy modules are imported by the command that needs them, so `mdm --help` is quick. An
error is one sentence on standard error and exit status 1 (2 for a wrong command line);
`--debug` shows where it came from.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command and returns its exit status."""
  args = make_parser().parse_args(argv)
  _set_environment()
  args.stdout = sys.stdout
  # With `--json -` standard output is the JSON alone; what people read goes beside it.
  aside = sys.stderr if getattr(args, "json", None) == "-" else sys.stdout
  try:
    with contextlib.redirect_stdout(aside):
      result = args.run(args)
  except KeyboardInterrupt:
    print("mdm: interrupted; the same command starts where it can.", file=sys.stderr)
    return 130
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
  except Exception as error:
    if args.debug:
      raise
    print(f"mdm: {describe_error(error)}", file=sys.stderr)
    return 1
  return result if isinstance(result, int) else 0


def describe_error(error: Exception) -> str:
  """An error as one sentence; unexpected kinds are named as such."""
  text = str(error).strip() or type(error).__name__
  if isinstance(error, ModuleNotFoundError):
    return f"{text}; install what is missing: see `mdm doctor`."
  if isinstance(error, OSError) and error.filename:
    return f"{error.filename}: {error.strerror}; check the path and its permissions."
  if isinstance(error, ValueError | OSError) or type(error).__module__.startswith(
    "mdm."
  ):
    return text
  first = text.splitlines()[0]
  return f"unexpected {type(error).__name__}: {first} (--debug shows where)."


def make_parser() -> argparse.ArgumentParser:
  """The parser of all commands."""
  common = argparse.ArgumentParser(add_help=False)
  common.add_argument("--debug", action="store_true", help="show stack traces")
  common.add_argument(
    "--json", metavar="FILE", help="write the result as JSON, - for stdout"
  )
  parser = argparse.ArgumentParser(
    prog="mdm", description="Everything done with a mask, in JAX."
  )
  parser.add_argument("--version", action="store_true", help="print the version")
  parser.set_defaults(run=_version, debug=False)
  commands = parser.add_subparsers(title="commands", metavar="COMMAND")

  def add(name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
    """A command with the options that all share."""
    command = commands.add_parser(
      name, parents=[common], help=text, description=text, epilog=f"example: {example}"
    )
    command.set_defaults(run=run)
    return command

  _add_training(add)
  _add_reading(add)
  data = add(
    "data",
    data_command,
    "list, build or show data sets, or check an image",
    "mdm data show configs/diffusion/mdiff4str_tiny.py --out words.png",
  )
  data.add_argument("action", choices=("list", "build", "show", "check"))
  data.add_argument(
    "name", nargs="?", help="data set, config whose data is meant, or image"
  )
  data.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
  data.add_argument("--force", action="store_true", help="build again what is there")
  data.add_argument("--out", default="data.png", help="picture written by show")
  data.add_argument("--split", default="train")
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
  return parser


def _add_training(add: Any) -> None:
  train = add(
    "train",
    train_command,
    "train a config; again to resume",
    "mdm train configs/diffusion/mdiff4str_tiny.py --workdir runs/reader",
  )
  train.add_argument("config", help="a config file")
  train.add_argument("--workdir", required=True, help="folder of the run")
  train.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    help="override a setting, as in train.steps=100",
  )
  evaluate = add(
    "eval", eval_command, "run a run's evaluations", "mdm eval runs/reader"
  )
  evaluate.add_argument("run_folder", metavar="RUN")
  evaluate.add_argument("--step", type=int, help="checkpoint (default: newest)")
  evaluate.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
  claim = add(
    "claim",
    claim_command,
    "train A against B with seeds and compare",
    "mdm claim configs/claims/mdiff4str.py --workdir runs/claim",
  )
  claim.add_argument("config", help="a claim's file")
  claim.add_argument("--workdir", required=True, help="folder of its runs")
  claim.add_argument("--seeds", type=int, help="number of seeds")
  claim.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def _add_reading(add: Any) -> None:
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


def train_command(args: argparse.Namespace) -> int:
  """`mdm train`."""
  from mdm import api

  outcome = api.train(args.config, args.workdir, overrides=args.set)
  step = int(outcome.state.step)
  if outcome.stopped is not None:
    print(f"stopped and saved at step {step}; the same command resumes.")
    return 130 if outcome.stopped == signal.SIGINT else 0
  print(f"done: {step} steps in {args.workdir}")
  print_numbers(outcome.metrics)
  times = outcome.times
  print(
    f"wall {times['time/wall_s']:.1f} s: "
    + ", ".join(
      f"{k[5:-2]} {v:.1f}"
      for k, v in times.items()
      if k.endswith("_s") and k != "time/wall_s"
    )
    + f"; goodput {100 * times['time/goodput']:.0f}%"
  )
  write_result(args, {"step": step, "metrics": outcome.metrics, "times": times})
  return 0


def eval_command(args: argparse.Namespace) -> None:
  """`mdm eval`."""
  from mdm import api

  numbers = api.evaluate(args.run_folder, step=args.step, overrides=args.set)
  print_numbers(numbers)
  write_result(args, numbers)


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


def claim_command(args: argparse.Namespace) -> None:
  """`mdm claim`."""
  from mdm import api

  report = api.claim(args.config, args.workdir, seeds=args.seeds, overrides=args.set)
  print(report.text)
  write_result(args, report.results)


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
    api.check_image(args.name)
    write_result(args, {"image": args.name, "readable": True})
  elif args.action == "build":
    info = api.build_data(args.name, overrides=args.set, force=args.force)
    print_numbers(info)
    write_result(args, info)
  else:
    api.show_data(args.name, args.out, split=args.split, overrides=args.set)
    print(f"wrote {args.out}")
    write_result(args, {"picture": args.out})


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


def print_numbers(numbers: dict[str, Any]) -> None:
  """One name and value a line."""
  for name, value in numbers.items():
    text = f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
    print(f"{name:28} {text}")


def write_result(args: argparse.Namespace, result: Any) -> None:
  """Writes a result as JSON where `--json` says: a file, or "-" for standard output."""
  if args.json is None:
    return
  text = json.dumps(result, indent=2, default=str) + "\n"
  if args.json == "-":
    args.stdout.write(text)
  else:
    Path(args.json).write_text(text)


def _decoding(args: argparse.Namespace) -> dict[str, Any]:
  return {
    "decoder": args.decoder,
    "num_steps": args.num_steps,
    "final_reflect": args.final_reflect,
  }


def _version(args: argparse.Namespace) -> int:
  import mdm

  if args.version:
    print(f"mdm {mdm.__version__}")
    return 0
  make_parser().print_help()
  return 2


def _set_environment() -> None:
  """Compiled programs are kept between commands, per user."""
  cache = Path.home() / ".cache" / "mdm" / "xla"
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))


if __name__ == "__main__":
  sys.exit(main())
