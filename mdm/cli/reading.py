"""The command predict: reads or names images, or writes down recordings."""

import argparse
import sys
from typing import Any

from mdm.cli.options import add_run
from mdm.cli.output import write_result


def add_commands(add: Any) -> None:
  """Its parser; `add` makes one with the options that all share."""
  predict = add(
    "predict",
    predict_command,
    "read words, name images, or write down recordings with the times of words",
    "mdm predict reader photo.png",
    "mdm predict runs/reader word.png --decoder ar --json -",
    "mdm predict runs/named photos/cat/1.jpg --top 3",
    "mdm predict digits clip.wav --resampler soxr",
  )
  add_run(predict)
  add_decoding(predict)
  add_hearing(predict)
  predict.add_argument("--top", type=int, help="classes of an image to rank")
  predict.add_argument(
    "--count", type=int, default=6, help="test images or clips to take"
  )


def add_decoding(command: Any) -> None:
  """The options of reading, without defaults: those are the library's."""
  command.add_argument(
    "--decoder",
    metavar="NAME",
    help="of images pd, ar, lc, blc, random or cloze (mdm/decoding; default: lc); of "
    "recordings greedy or beam (default: greedy)",
  )
  command.add_argument("--num-steps", type=int, help="passes (default: 3)")
  command.add_argument(
    "--final-reflect",
    action="store_true",
    default=None,
    help="re-read every character once more at the end",
  )
  command.add_argument(
    "files",
    nargs="*",
    metavar="FILE",
    help="images; recordings or folders of them (default: some that were held out)",
  )


def add_hearing(command: Any) -> None:
  """The options of recordings, without defaults: those are the run's."""
  how = command.add_argument_group("recordings")
  how.add_argument("--beam", type=int, help="texts that --decoder beam keeps")
  how.add_argument(
    "--ngrams",
    type=int,
    metavar="N",
    help="--decoder beam asks N-grams of the run's training texts (default: none)",
  )
  how.add_argument("--ngram-weight", type=float, help="of their log-probabilities")
  how.add_argument("--token-gain", type=float, help="of every token beside them")
  how.add_argument(
    "--resampler",
    metavar="NAME",
    help="soxr or polyphase, for files of another rate (default: the run's setting; "
    "without one they are refused)",
  )
  how.add_argument(
    "--channels",
    metavar="WHICH",
    help="of several: mix, refuse or a channel's number (default: the run's setting)",
  )
  how.add_argument(
    "--longest",
    type=float,
    metavar="SECONDS",
    help="longer recordings are cut at pauses (default: the longest clip of training)",
  )


def read_hearing(args: argparse.Namespace) -> dict[str, Any]:
  """The options of `add_hearing` that were given."""
  names = (
    *("beam", "ngrams", "ngram_weight", "token_gain"),
    *("resampler", "channels", "longest"),
  )
  found = {name: getattr(args, name) for name in names}
  if found["channels"] is not None and found["channels"].isdecimal():
    found["channels"] = int(found["channels"])
  return {name: value for name, value in found.items() if value is not None}


def read_decoding(args: argparse.Namespace) -> dict[str, Any]:
  """The options of `add_decoding` that were given."""
  names = ("decoder", "num_steps", "final_reflect")
  found = {name: getattr(args, name) for name in names}
  return {name: value for name, value in found.items() if value is not None}


def predict_command(args: argparse.Namespace) -> int:
  """`mdm predict`."""
  from mdm import api

  given = read_decoding(args) | read_hearing(args)
  given |= {} if args.top is None else {"top": args.top}
  found: list[Any] = []

  def show(one: Any) -> None:
    """Prints a result and keeps it."""
    found.append(one)
    _print_found(one)

  settings = {"count": args.count, "on_corrupt": "report", "on_found": show}
  try:
    api.predict(args.run_folder, args.files, **settings, **given)
  except KeyboardInterrupt:
    if not found:
      raise
    print(
      f"mdm: interrupted after {found[-1].source}; {len(found)} results are kept, name "
      "the other files to go on.",
      file=sys.stderr,
    )
    write_result(args, [one.to_json() for one in found])
    return 130
  write_result(args, [one.to_json() for one in found])
  return 1 if any(getattr(one, "error", "") for one in found) else 0


def _print_found(one: Any) -> None:
  """A result, or beside it what became of it."""
  error = getattr(one, "error", "")
  if error:
    print(f"mdm: {error}", file=sys.stderr)
  elif hasattr(one, "words"):
    _print_transcription(one)
  elif hasattr(one, "ranked"):
    _print_naming(one)
  else:
    _print_reading(one)


def _print_reading(reading: Any) -> None:
  """A line: image, text, confidence, that of each character."""
  sure = " ".join(f"{c}:{p:.2f}" for c, p in reading.characters)
  truth = "" if reading.truth is None else f"\ttruth {reading.truth}"
  text = reading.text or "(no text)"
  print(f"{reading.source}\t{text}\t{reading.confidence:.3f}\t{sure}{truth}")


def _print_naming(naming: Any) -> None:
  """A line: image, class, confidence, those that come next."""
  others = " ".join(f"{name}:{sure:.2f}" for name, sure in naming.ranked[1:])
  truth = "" if naming.truth is None else f"\ttruth {naming.truth}"
  print(f"{naming.source}\t{naming.label}\t{naming.confidence:.3f}\t{others}{truth}")


def _print_transcription(found: Any) -> None:
  """A line: recording, text, the seconds of each word."""
  times = " ".join(
    f"{word.text}:{word.begin_s:.2f}-{word.end_s:.2f}"
    for word in found.words
    if word.begin_s is not None
  )
  truth = "" if found.truth is None else f"\ttruth {found.truth}"
  print(f"{found.source}\t{found.text or '(no text)'}\t{times}{truth}", flush=True)
