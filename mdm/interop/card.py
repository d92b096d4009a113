"""A model's card: what it was trained on and how, what it reaches, what it cannot do.

Source: Model Cards for Model Reporting, Mitchell et al., 2019.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

Table = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Card:
  """What a card tells.

  Attributes:
    name: the model's name.
    summary: a sentence on what it is.
    facts: lines of the table on the training, by what they tell.
    metrics: numbers by name, as the run itself logged them.
    results: rows of a benchmark, each a map from column to value.
    notes: lines on how the results were measured.
    limits: what it cannot do.
    usage: commands.
  """

  name: str
  summary: str
  facts: Mapping[str, Any]
  metrics: Mapping[str, float]
  limits: Sequence[str]
  usage: Sequence[str]
  results: Table = ()
  notes: Sequence[str] = ()

  def to_markdown(self) -> str:
    """The card as Markdown."""
    parts = [
      f"# {self.name}",
      self.summary,
      "```bash\n" + "\n".join(self.usage) + "\n```",
      "## Training",
      format_table([{"what": k, "": v} for k, v in self.facts.items()]),
    ]
    if self.results:
      parts += ["## Accuracy and speed", format_table(self.results), *self.notes]
    if self.metrics:
      rows = [{"number": k, "value": format_number(v)} for k, v in self.metrics.items()]
      parts += ["## What the run logged last", format_table(rows)]
    parts += ["## Limits", "\n".join(f"- {line}" for line in self.limits)]
    return "\n\n".join(parts) + "\n"


def replace_fact(markdown: str, name: str, value: str) -> str:
  """A card whose table of facts has another value; unchanged if it lacks the fact."""
  start = f"| {name} | "
  line = f"{start}{format_number(value)} |"
  return "\n".join(
    line if old.startswith(start) else old for old in markdown.split("\n")
  )


def format_table(rows: Table) -> str:
  """Rows as a Markdown table; the first row names the columns."""
  columns = list(rows[0])
  lines = [columns, ["---"] * len(columns)]
  lines += [[format_number(row.get(c, "")) for c in columns] for row in rows]
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def format_number(value: Any) -> str:
  """A number with four digits, anything else as text that a table can hold."""
  if isinstance(value, float):
    return f"{value:.4g}" if value != int(value) else str(int(value))
  return str(value).replace("|", "\\|").replace("\n", " ")
