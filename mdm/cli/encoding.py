"""Commands of models that give vectors: encode, and bench encode."""

import argparse
from typing import Any

from mdm.cli.options import add_run
from mdm.cli.output import print_numbers, write_result


def add_commands(add: Any) -> None:
  """Their parser; `add` makes one with the options that all share."""
  encode = add(
    "encode",
    encode_command,
    "write a vector of each line of texts, or of each image",
    "mdm encode models/minilm sentences.txt --out vectors.npy",
    'mdm encode models/minilm --text "A man eats." --out vector.npy',
    "mdm encode runs/mae photo.jpg --out vector.npy",
  )
  add_run(encode)
  encode.add_argument(
    "files", nargs="*", metavar="FILE", help="texts in UTF-8, one a line; or images"
  )
  encode.add_argument(
    "--text", action="append", default=[], help="a text itself, beside or without files"
  )
  encode.add_argument(
    "--batch", type=int, help="encoded at once (default: 64 images, 2048 tokens)"
  )
  encode.add_argument(
    "--out", required=True, metavar="FILE.npy", help="array of vectors, [b d]"
  )


def add_options(group: Any) -> None:
  """Those of bench encode that no other benchmark has."""
  group.add_argument(
    "--texts",
    metavar="FILE",
    help="texts, one a line (default: 512 of the tokenizer's words; see --limit)",
  )


def encode_command(args: argparse.Namespace) -> None:
  """`mdm encode`."""
  from mdm import api

  report = api.encode(
    args.run_folder, args.files, texts=args.text, out=args.out, batch=args.batch
  )
  print(f"{report['count']} vectors of {report['width']} numbers: {report['out']}")
  write_result(args, report)


def bench_encode(args: argparse.Namespace, rounds: int) -> None:
  """`mdm bench encode`.

  Raises:
    ValueError: no model is named, or no PyTorch is found where it is asked for.
  """
  from mdm import api
  from mdm.evaluation.torch_process import torch_python

  if not args.config:
    raise ValueError("mdm bench encode needs an encoder of sentences; give its path.")
  torch = torch_python(args.torch) if args.vs or args.torch else None
  if args.vs and torch is None:
    raise ValueError("--vs torch finds no PyTorch here; give --torch PYTHON.")
  report = api.bench_encode(
    args.config,
    texts=args.texts,
    limit=args.limit,
    batch=args.batch,
    rounds=rounds,
    torch=torch,
  )
  print(
    f"{report['texts']} texts of {report['words_per_text']:.1f} words on "
    f"{report['hardware']}"
  )
  print_numbers(report["numbers"])
  print("\n".join([report["timed"], *report["notes"]]))
  write_result(args, report)
