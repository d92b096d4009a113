"""What commands print and write: numbers, and results as JSON."""

import argparse
import json
from pathlib import Path
from typing import Any


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
