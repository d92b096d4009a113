"""Options that several commands share, told in the same words."""

from typing import Any


def add_overrides(
  command: Any, text: str = "override a setting, as in train.steps=100"
) -> None:
  """`--set KEY=VALUE`, as often as one likes."""
  command.add_argument(
    "--set", action="append", default=[], metavar="KEY=VALUE", help=text
  )


def add_run(command: Any) -> None:
  """`RUN`: what is trained."""
  command.add_argument(
    "run_folder",
    metavar="RUN",
    help="a run's folder, exported or imported weights, or reader, digits",
  )


def split_names(text: str) -> list[str]:
  """The parts of "a,b"; none of ""."""
  return [part.strip() for part in text.split(",") if part.strip()]
