"""Commands in texts, read as a shell and the real parser would read them."""

import argparse
import re
import shlex

from mdm.cli import app
from mdm.training import config

GUIDES = ("my_claim",)  # configs that a guide asks its reader to write
NAMED = re.compile(r"(configs|diffusion|image|speech|text)/\w[\w/]*(\.py)?")


def find_commands(text, language="bash"):
  """The lines of a page's blocks of shell that call mdm."""
  blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
  lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
  return [line for line in map(str.strip, lines) if line.startswith("mdm ")]


def find_commands_of(parser):
  """The parser of each command, by its name."""
  [action] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
  return action.choices


def find_examples(command=None):
  """The lines at the end of a command's help, or of that of all commands."""
  parser = app.make_parser()
  parser = parser if command is None else find_commands_of(parser)[command]
  head, _, end = parser.format_help().rpartition("\nexample")
  assert head and end.partition("\n")[0] in (":", "s:"), f"{command} has no examples"
  return [line.strip() for line in end.splitlines()[1:]]


def parse(line):
  """A command's arguments.

  Raises:
    ValueError: the parser does not know it, or a config that it names is not there.
  """
  words = shlex.split(line, comments=True)
  try:
    args = app.parse(words[1:])
  except SystemExit as asked:
    if asked.code:
      raise ValueError(f"{line}: no command of mdm, see above") from None
    return None
  for word in words:
    if NAMED.fullmatch(word) and not any(name in word for name in GUIDES):
      config.find(word)
  return args
