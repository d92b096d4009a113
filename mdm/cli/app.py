"""The parser of all commands, and how a command runs and fails."""

import argparse
import contextlib
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdm.cli import (
  bench,
  compiling,
  data,
  encoding,
  importing,
  plotting,
  reading,
  results,
  training,
  writing,
)
from mdm.cli.memory import keep_memory

WIDTH = 80  # of a command's description
EXAMPLES = (
  "mdm predict reader photo.png",
  "mdm train configs/image/mae_folder.py --workdir runs/mae --set data.folder=photos",
)
ROOMS = (
  training,
  compiling,
  importing,
  reading,
  encoding,
  writing,
  plotting,
  data,
  bench,
  results,
)


def main(argv: Sequence[str] | None = None) -> int:
  """Runs one command and returns its exit status."""
  args = parse(argv)
  _set_environment()
  args.is_own_process = argv is None
  if args.is_own_process:
    keep_memory()
  args.stdout = sys.stdout
  # With `--json -` standard output is the JSON alone; what people read goes beside it.
  aside = sys.stderr if getattr(args, "json", None) == "-" else sys.stdout
  try:
    with contextlib.ExitStack() as heard:
      if not join_peers(args):
        aside = heard.enter_context(open(os.devnull, "w"))
      heard.enter_context(contextlib.redirect_stdout(aside))
      result = args.run(args)
  except KeyboardInterrupt:
    print("mdm: interrupted; the same command starts where it can.", file=sys.stderr)
    return _end(args, 130)
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
  except Exception as error:
    if args.debug and not args.has_peers:
      raise
    if args.debug:
      traceback.print_exc()
    print(f"mdm: {describe_error(error)}", file=sys.stderr)
    return _end(args, 1)
  return result if isinstance(result, int) else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
  """The arguments of one command.

  Files may come after the options: before Python 3.13 `nargs="*"` takes no file where
  an option stands first, and leaves those that follow.
  """
  parser = make_parser()
  args, rest = parser.parse_known_args(argv)
  are_files = not any(word.startswith("-") for word in rest)
  if rest and are_files and getattr(args, "files", None) == []:
    args.files, rest = rest, []
  if rest:
    parser.error(f"unrecognized arguments: {' '.join(rest)}")
  return args


def join_peers(args: argparse.Namespace) -> bool:
  """Joins the other processes of a command that several can run together.

  Returns whether this is the one that prints and writes.
  """
  if not args.joins:
    return True
  from mdm.training import processes

  args.has_peers = processes.start_processes()
  if not args.has_peers or processes.is_first():
    return True
  args.json = None
  return False


def _end(args: argparse.Namespace, status: int) -> int:
  """The exit status after an error; a process with peers ends here."""
  if args.has_peers:
    from mdm.training import processes

    processes.leave(status)
  return status


def describe_error(error: Exception) -> str:
  """An error as one sentence; unexpected kinds are named as such."""
  text = str(error).strip() or type(error).__name__
  if isinstance(error, ModuleNotFoundError):
    return f"{text}; install what is missing: see `mdm doctor`."
  if isinstance(error, OSError) and error.filename:
    return f"{error.filename}: {error.strerror}; check the path and its permissions."
  if type(error).__name__ == "JaxRuntimeError":
    from mdm.training import processes

    if lost := processes.describe_loss(error):
      return lost
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
    "--json",
    nargs="?",
    const="-",
    metavar="FILE",
    help="write the result as JSON, to standard output without a FILE or with -",
  )
  parser = argparse.ArgumentParser(
    prog="mdm",
    description="Everything done with a mask, in JAX. `mdm COMMAND --help` tells more.",
    epilog=_list_examples(EXAMPLES),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--version", action="store_true", help="print the version")
  parser.set_defaults(run=_version, debug=False, joins=False, has_peers=False)
  commands = parser.add_subparsers(title="commands", metavar="COMMAND")

  def add(name: str, run: Any, text: str, *examples: str) -> argparse.ArgumentParser:
    """A command with the options that all share; its help ends with the examples."""
    command = commands.add_parser(
      name,
      parents=[common],
      help=text,
      description=textwrap.fill(text, WIDTH),
      epilog=_list_examples(examples),
      formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    return command

  for room in ROOMS:
    room.add_commands(add)
  return parser


def _list_examples(examples: Sequence[str]) -> str:
  """The end of a help: lines that can be copied."""
  head = "example:" if len(examples) == 1 else "examples:"
  return "\n  ".join([head, *examples])


def _version(args: argparse.Namespace) -> int:
  import mdm

  if args.version:
    print(f"mdm {mdm.__version__}")
    return 0
  make_parser().print_help()
  return 2


def _set_environment() -> None:
  """Compiled programs are kept between commands, in a folder of this user alone.

  What lies there is run as it is: whoever may write to it runs code as its reader.
  """
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  cache = Path.home() / ".cache" / "mdm" / "xla"
  with contextlib.suppress(OSError):  # a home that cannot be written: nothing is kept
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.mkdir(mode=0o700, exist_ok=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
