"""Commands in texts, read as a shell and the real parser would read them."""

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


def parse(line):
  """A command's arguments.

  Raises:
    ValueError: the parser does not know it, or a config that it names is not there.
  """
  words = shlex.split(line, comments=True)
  try:
    args = app.parse(words[1:])
  except SystemExit:
    raise ValueError(f"{line}: no command of mdm, see above") from None
  for word in words:
    if NAMED.fullmatch(word) and not any(name in word for name in GUIDES):
      config.find(word)
  return args
