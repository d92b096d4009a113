"""RESULTS.md from stored results; see `evaluation/results.py`."""

from pathlib import Path

from mdm.evaluation import result_store
from mdm.training.hardware import describe_hardware

FOLDER, PAGE = "configs/results", "RESULTS.md"


def write_results(folder: str | Path = FOLDER, out: str | Path = PAGE) -> None:
  """Writes the page that the stored results make.

  Args:
    folder: where results are kept.
    out: the page.

  Raises:
    ValueError: a stored file is missing, or holds something else than it should.
  """
  result_store.store_page(folder, out)


def check_results(folder: str | Path = FOLDER, out: str | Path = PAGE) -> None:
  """Whether the page is the one that the stored results make.

  Raises:
    ValueError: it is another, or a stored file is wrong.
  """
  result_store.check_page(folder, out)


def add_result(
  path: str | Path,
  section: str,
  *,
  folder: str | Path = FOLDER,
  out: str | Path = PAGE,
) -> Path:
  """Keeps what a claim or a benchmark wrote with `--json`, and writes the page anew.

  Args:
    path: the JSON.
    section: the claim's name, or the section of a benchmark's figures.
    folder: where results are kept.
    out: the page.

  Returns:
    The file that holds it.

  Raises:
    ValueError: the file is too large or holds no numbers.
  """
  stored = result_store.add_result(path, section, folder, hardware=describe_hardware())
  result_store.store_page(folder, out)
  return stored
