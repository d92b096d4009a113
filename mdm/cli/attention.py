"""The command bench attention: sparse attention beside others, or compiled alone."""

import argparse
import itertools
from collections.abc import Sequence
from typing import Any

from mdm.cli.options import split_names
from mdm.cli.output import write_result


def add_options(attention: Any) -> None:
  """Those that no other benchmark has."""
  attention.add_argument(
    "--shapes", nargs="+", default=[], metavar="B,H,K,N,D,W", help="sizes of problems"
  )
  attention.add_argument("--backends", default="auto", help="of our attention")
  attention.add_argument(
    "--patterns", default="iid", help="of scores: iid,clustered,recency,learned"
  )
  attention.add_argument(
    "--run", dest="learned", help="with dynamic masks, whose scores are learned"
  )
  attention.add_argument(
    "--decode", action="store_true", help="one new token before N - 1 in a cache"
  )
  attention.add_argument("--dtype", help="(float32 on a CPU, else bfloat16)")
  attention.add_argument(
    "--aot", metavar="CHIP", help="compile for v5e, v5p, v6e or h200; runs nothing"
  )
  attention.add_argument("--plot", metavar="FILE.png", help="time against length")


def bench_attention(
  args: argparse.Namespace, *, peers: Sequence[str], rounds: int
) -> None:
  """`mdm bench attention`."""
  from mdm import api

  if args.aot:
    compile_attention(args)
    return
  report = api.bench_attention(
    args.shapes,
    backends=split_names(args.backends),
    peers=peers,
    patterns=split_names(args.patterns),
    run=args.learned,
    decode=args.decode,
    dtype=args.dtype,
    rounds=rounds,
    torch=args.torch,
    plot=args.plot,
  )
  rates = report["rates"]
  print(
    f"on {report['hardware']}: {rates['flops_per_s'] / 1e9:,.0f} GFLOP/s, "
    f"{rates['bytes_per_s'] / 1e9:,.1f} GB/s, {rates['exps_per_s'] / 1e9:,.2f} G "
    f"exponentials/s ({rates['source']})"
  )
  print("\n".join(report["notes"]))
  write_result(args, report)


def compile_attention(args: argparse.Namespace) -> None:
  """`mdm bench attention --aot CHIP`."""
  from mdm import api
  from mdm.evaluation.attention.aot import format_rows
  from mdm.evaluation.attention.floor import Case

  report = api.compile_attention(args.aot, args.shapes, dtype=args.dtype)
  rows = report["rows"]
  for _, case in itertools.groupby(rows, lambda row: [row[x] for x in Case._fields]):
    print(format_rows(list(case)))
  print(
    f"compiled for {report['device']} in {report['dtype']}, not measured: the "
    "compiler's own counts (a loop's body once) and estimate; xla and splash are "
    "dense, another function, and splash tells the compiler nothing of its work"
  )
  write_result(args, report)
