"""Commands on the machine: bench, doctor."""

import argparse
from typing import Any

from mdm.cli import attention, encoding, hearing
from mdm.cli.options import add_overrides, split_names
from mdm.cli.output import print_numbers, write_result

STEPS = {"step": "30", "reader": "1,2,3,5", "sampler": "64"}
ROUNDS = {
  "step": 7,
  "reader": 5,
  "hearing": 5,
  "encode": 5,
  "sampler": 7,
  "attention": 7,
  "times": 64,
  "frontend": 7,
  "speech": 3,
  "resume": 3,
}
PEERS = {
  "reader": "tesseract,ppocr",
  "attention": "xla,xla_mask,cudnn,tokamax,splash,torch,torch_mask,flex",
}
DECODERS = {"reader": "pd,lc,ar", "hearing": "greedy,beam"}
SAMPLE = {"reader": 256, "hearing": 32}
EXAMPLES = (
  "mdm bench step configs/diffusion/mdiff4str_tiny.py    # the loop beside a bare step",
  "mdm bench step image.mae                              # a step of a fixed problem",
  "mdm bench resume configs/diffusion/md4_chars.py       # from stopped to going on",
  "mdm bench rendering",
  "mdm bench frontend",
  "mdm bench reader --json numbers.json",
  "mdm bench hearing runs/ctc_prompts",
  "mdm bench encode models/minilm --limit 256",
  "mdm bench sampler runs/text --samplers ancestral,remdm_cap",
  "mdm bench speech configs/speech/ctc_prompts.py",
  "mdm bench times runs/text",
  "mdm bench attention --decode                          # one token before a cache",
  "mdm bench attention --aot v5e                         # needs libtpu, no TPU",
)


def add_commands(add: Any) -> None:
  """Their parsers; `add` makes one with the options that all share."""
  bench = add(
    "bench",
    bench_command,
    "measure attention, readers, recognisers and encoders beside others, samplers and "
    "the loop against bare passes, how soon a stopped training goes on, rendering, "
    "features of sound, what buckets and two losses save on speech, or how a loss "
    "varies by how its times are drawn",
    *EXAMPLES,
  )
  bench.add_argument(
    "what", metavar="WHAT", choices=tuple(COMMANDS), help=", ".join(COMMANDS)
  )
  bench.add_argument(
    "config",
    nargs="?",
    metavar="CONFIG|MODEL",
    help="config or a method's name for step; config for resume; run or model for "
    "reader (default: reader), hearing and encode; any for the rest",
  )
  add_overrides(bench)
  bench.add_argument(
    "--steps",
    help="step: steps per round (30; of a method 1); reader, sampler: denoising passes "
    "(1,2,3,5; 64)",
  )
  bench.add_argument(
    "--rounds",
    type=int,
    help="rounds of timing (7; reader, hearing, encode: 5; speech, resume: 3) or draws "
    "(64)",
  )
  bench.add_argument(
    "--batch",
    type=int,
    help="images read (64), clips heard (16), texts written (8), rows of a loss (64)",
  )
  bench.add_argument("--torch", metavar="PYTHON", help="an interpreter with PyTorch")
  bench.add_argument("--vs", choices=("torch",), help="step, encode: beside what")
  bench.add_argument("--peers", help='reader, hearing, attention: others; "" for none')
  _add_reading_options(bench.add_argument_group("bench reader, bench hearing"))
  _add_reader_options(bench.add_argument_group("bench reader"))
  hearing.add_options(bench.add_argument_group("bench hearing"))
  encoding.add_options(bench.add_argument_group("bench encode"))
  attention.add_options(bench.add_argument_group("bench attention"))
  sampler = bench.add_argument_group("bench sampler")
  sampler.add_argument(
    "--samplers",
    default="ancestral,low_confidence",
    help="names of mdm/decoding/settings.py (default: ancestral,low_confidence)",
  )
  sampler.add_argument("--length", type=int, help="tokens (default: the training's)")
  sampler.add_argument("--top-p", type=float, default=1.0, help="(default: 1, all)")
  add(
    "doctor",
    doctor_command,
    "what is installed, which devices, what is missing",
    "mdm doctor",
    "mdm doctor --json machine.json",
  )


def _add_reading_options(group: Any) -> None:
  group.add_argument(
    "--split", help="part of the data set (reader: all; hearing: test)"
  )
  group.add_argument(
    "--limit", type=int, default=0, help="words, clips, texts (default: all)"
  )
  group.add_argument(
    "--decoders", help="of mdm/decoding (reader: pd,lc,ar; hearing: greedy,beam)"
  )
  group.add_argument(
    "--sample", type=int, help="images (256) or clips (32) per round of timing"
  )


def _add_reader_options(reader: Any) -> None:
  reader.add_argument(
    "--data", default="iiit5k", help="data set, or folder of images with labels.txt"
  )
  reader.add_argument(
    "--misses", metavar="FILE", help="misread words: a table, or a sheet if a .png"
  )


def bench_command(args: argparse.Namespace) -> None:
  """`mdm bench`."""
  COMMANDS[args.what](args)


def bench_numbers_command(args: argparse.Namespace) -> None:
  """`mdm bench step`, `mdm bench rendering` and `mdm bench frontend`."""
  from mdm import api
  from mdm.evaluation.steps.problems import MODULES

  if args.what == "step" and not args.config:
    raise ValueError(
      "mdm bench step needs a config's path, or a method's name "
      f"({', '.join(MODULES)})."
    )
  if args.config in MODULES:
    bench_problem_command(args)
    return
  if args.what == "step":
    report = api.bench_step(
      args.config, args.set, steps=_counts(args)[0], rounds=_rounds(args)
    )
    print(f"{args.config} on {report['hardware']}")
    print_numbers(report["numbers"])
    write_result(args, report)
    return
  is_rendering = args.what == "rendering"
  numbers = (
    api.bench_rendering() if is_rendering else api.bench_frontend(rounds=_rounds(args))
  )
  print_numbers(numbers)
  write_result(args, numbers)


def bench_problem_command(args: argparse.Namespace) -> None:
  """`mdm bench step METHOD`."""
  from mdm import api
  from mdm.evaluation.torch_process import torch_python

  torch = torch_python(args.torch) if args.vs or args.torch else None
  if args.vs and torch is None:
    raise ValueError("--vs torch finds no PyTorch here; give --torch PYTHON.")
  report = api.bench_problem(
    args.config,
    args.set,
    steps=1 if args.steps is None else _counts(args)[0],
    rounds=_rounds(args),
    torch=torch,
  )
  print(f"{args.config} on {report['hardware']}")
  print("\n".join(report["notes"]))
  print_numbers(report["numbers"])
  write_result(args, report)


def bench_resume_command(args: argparse.Namespace) -> None:
  """`mdm bench resume CONFIG`."""
  from mdm import api

  if not args.config:
    raise ValueError("mdm bench resume needs a config; give its path or name.")
  report = api.bench_resume(args.config, args.set, rounds=_rounds(args))
  print(f"{args.config} on {report['hardware']}")
  print_numbers(report["numbers"])
  write_result(args, report)


def bench_speech_command(args: argparse.Namespace) -> None:
  """`mdm bench speech`."""
  from mdm import api

  if not args.config:
    raise ValueError(
      "mdm bench speech needs a config of configs/speech; give its path."
    )
  report = api.bench_speech(args.config, args.set, rounds=_rounds(args))
  print(f"{report['data']['name']} on {report['hardware']}")
  print_numbers(report["numbers"])
  write_result(args, report)


def bench_reader_command(args: argparse.Namespace) -> None:
  """`mdm bench reader`."""
  from mdm import api
  from mdm.evaluation.reading_bench import format_rows

  report = api.bench_reader(
    args.config or "reader",
    data=args.data,
    overrides=args.set,
    split=args.split,
    limit=args.limit,
    steps=_counts(args),
    batch=args.batch or 64,
    peers=_peers(args),
    misses=args.misses,
    **_reading(args),
  )
  data = report["data"]
  print(f"{data['count']} words of {data['name']} on {report['hardware']}")
  print(format_rows(report["rows"]))
  print("\n".join(report["notes"]))
  write_result(args, report)


def bench_hearing_command(args: argparse.Namespace) -> None:
  """`mdm bench hearing`."""
  peers = None if args.peers is None else split_names(args.peers)
  hearing.bench_hearing(args, peers=peers, batch=args.batch or 16, **_reading(args))


def bench_encode_command(args: argparse.Namespace) -> None:
  """`mdm bench encode`."""
  encoding.bench_encode(args, _rounds(args))


def bench_attention_command(args: argparse.Namespace) -> None:
  """`mdm bench attention`."""
  attention.bench_attention(args, peers=_peers(args), rounds=_rounds(args))


def bench_sampler_command(args: argparse.Namespace) -> None:
  """`mdm bench sampler`."""
  from mdm import api

  if not args.config:
    raise ValueError("mdm bench sampler needs a run or a config; give its path.")
  report = api.bench_sampler(
    args.config,
    args.set,
    samplers=split_names(args.samplers),
    steps=_counts(args),
    length=args.length,
    batch=args.batch or 8,
    rounds=_rounds(args),
    top_p=args.top_p,
  )
  print(f"{report['batch']} x {report['length']} tokens on {report['hardware']}")
  for row in report["rows"]:
    print(
      f"{row['sampler']:18} {row['calls']:5} passes  {row['tokens_per_s']:10,.0f} "
      f"tokens/s  {row['ratio']:.3f} x bare passes"
    )
  write_result(args, report)


def doctor_command(args: argparse.Namespace) -> int:
  """`mdm doctor`."""
  from mdm import doctor

  report = doctor.examine()
  print(doctor.describe(report))
  write_result(args, report)
  return 0 if not report["missing"] else 1


def bench_times_command(args: argparse.Namespace) -> None:
  """`mdm bench times`."""
  from mdm import api
  from mdm.evaluation.times import format_numbers

  if not args.config:
    raise ValueError("mdm bench times needs a run or a config; give its path.")
  report = api.bench_times(
    args.config, args.set, draws=_rounds(args), batch=args.batch or 64
  )
  print(format_numbers(report["numbers"]))
  write_result(args, report)


COMMANDS = {
  "step": bench_numbers_command,
  "resume": bench_resume_command,
  "rendering": bench_numbers_command,
  "frontend": bench_numbers_command,
  "reader": bench_reader_command,
  "hearing": bench_hearing_command,
  "encode": bench_encode_command,
  "sampler": bench_sampler_command,
  "speech": bench_speech_command,
  "times": bench_times_command,
  "attention": bench_attention_command,
}


def _peers(args: argparse.Namespace) -> list[str]:
  """`--peers`, or all."""
  return split_names(PEERS[args.what] if args.peers is None else args.peers)


def _reading(args: argparse.Namespace) -> dict[str, Any]:
  """What benchmarks of readers and of recognisers share."""
  decoders = DECODERS[args.what] if args.decoders is None else args.decoders
  return {
    "decoders": split_names(decoders),
    "rounds": _rounds(args),
    "sample": SAMPLE[args.what] if args.sample is None else args.sample,
  }


def _rounds(args: argparse.Namespace) -> int:
  """`--rounds`, or as many as usual."""
  if args.rounds is None:
    return ROUNDS[args.what]
  if args.rounds < 1:
    raise ValueError(f"--rounds {args.rounds} must be 1 or more.")
  return int(args.rounds)


def _counts(args: argparse.Namespace) -> list[int]:
  """`--steps` as numbers."""
  text = STEPS[args.what] if args.steps is None else args.steps
  counts = split_names(text)
  if not counts or not all(part.isdecimal() and int(part) > 0 for part in counts):
    raise ValueError(f"--steps {text} must be positive numbers, as in 1,2,3.")
  return [int(part) for part in counts]
