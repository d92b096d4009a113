"""The notebooks: whole and small as they are kept, and true when they are run again.

A run has no network but the kernel's own, and no data but what the notebook makes.
"""

import ast
import base64
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

COLABS = Path(__file__).parents[2] / "colabs"
NAMES = ("1_masks", "2_reading", "3_images", "4_speech", "5_attention")
FASTEST = "1_masks"
BYTES, PICTURES, SECONDS = 1_000_000, 3, 300
MAGIC = re.compile(r"^(\s*)[%!].*$", re.MULTILINE)
PLACES = re.compile(
  r"(?<![\w.:/~])(/(work|tmp|home|root|Users|content|farm|var)\b|[A-Z]:\\)"
)
PROGRESS = re.compile(r"\s*\[[# ]+\] \d+/\d+ ")  # the bar of a training
# What a notebook need not have: docstrings everywhere, annotations, short strings.
NOT_ASKED = "D100,D103,ANN,E501"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def load(name):
  return json.loads((COLABS / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_of(cell):
  """A cell's code with its magics taken out."""
  return MAGIC.sub(r"\1pass", "".join(cell["source"]))


def code_cells(notebook):
  return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def pictures_of(cell):
  found = (output.get("data", {}).get("image/png") for output in cell["outputs"])
  return [base64.b64decode("".join(data)) for data in found if data]


def run(name, folder, monkeypatch, unset=()):
  """The notebook after a run in an empty folder, and the seconds that took."""
  nbformat = pytest.importorskip("nbformat")
  nbclient = pytest.importorskip("nbclient")
  pytest.importorskip("ipykernel")
  for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
    monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # whoever asks the network fails
  for setting in ("MDM_DATA_DIR", "JAX_NUM_CPU_DEVICES", *unset):
    monkeypatch.delenv(setting, raising=False)
  monkeypatch.setenv("PYTHONWARNINGS", "default")
  monkeypatch.setenv("PYTHONPATH", str(COLABS.parent))
  notebook = nbformat.read(COLABS / f"{name}.ipynb", as_version=4)
  for cell in notebook.cells:
    if cell.cell_type == "code":
      cell.outputs, cell.execution_count = [], None
  began = time.monotonic()
  nbclient.NotebookClient(
    notebook,
    timeout=SECONDS,
    kernel_name="python3",
    resources={"metadata": {"path": str(folder)}},
  ).execute()
  return json.loads(nbformat.writes(notebook)), time.monotonic() - began


def test_every_notebook_is_named_here():
  assert tuple(sorted(path.stem for path in COLABS.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_small_and_says_nothing_of_the_machine_it_was_made_on(name):
  text = (COLABS / f"{name}.ipynb").read_text(encoding="utf-8")
  notebook = json.loads(text)
  assert len(text.encode()) < BYTES
  assert notebook["metadata"] == {
    "kernelspec": KERNEL,
    "language_info": {"name": "python"},
  }
  assert all(cell["metadata"] == {} for cell in notebook["cells"])
  without_pictures = re.sub(r'"image/png": "[^"]*"', "", text)
  assert PLACES.search(without_pictures) is None
  short = name.partition("_")[2]
  ids = [cell["id"] for cell in notebook["cells"]]
  assert ids == [f"{short}-{number:02}" for number in range(len(ids))]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_was_run_from_top_to_bottom_without_complaint(name):
  cells = code_cells(load(name))
  assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
  outputs = [output for cell in cells for output in cell["outputs"]]
  assert all(output["output_type"] != "error" for output in outputs)
  assert all(output.get("name") != "stderr" for output in outputs)
  assert not any("Warning" in "".join(output.get("text", "")) for output in outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_keeps_pictures_that_show_something(name):
  found = [data for cell in code_cells(load(name)) for data in pictures_of(cell)]
  assert len(found) >= PICTURES
  for data in found:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    assert min(picture.size) > 20 and max(picture.size) < 2_000
    assert len(picture.getcolors(1 << 22)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_the_first_code_installs_only_where_the_package_is_missing(name):
  first, *others = code_cells(load(name))
  statements = ast.parse(code_of(first)).body
  guard = statements[-1]
  assert isinstance(guard, ast.If)
  assert "find_spec('mdm') is None" in ast.unparse(guard.test)
  assert "%pip install" in "".join(first["source"])
  assert not any(MAGIC.search("".join(cell["source"])) for cell in others)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_explains_checks_and_compiles(name):
  notebook = load(name)
  kinds = [cell["cell_type"] for cell in notebook["cells"]]
  assert kinds[0] == "markdown" and kinds.count("markdown") >= 8
  assert "".join(notebook["cells"][0]["source"]).startswith("# ")
  checks = 0
  for cell in code_cells(notebook):
    tree = ast.parse(code_of(cell))
    checks += sum(isinstance(node, ast.Assert) for node in ast.walk(tree))
  assert checks >= 5


def test_the_code_keeps_the_house_style():
  root = COLABS.parent
  paths = [str(path) for path in sorted(COLABS.glob("*.ipynb"))]
  config = ["--config", str(root / "pyproject.toml"), "--no-cache"]
  for what in (["check", "--ignore", NOT_ASKED], ["format", "--check"]):
    command = [sys.executable, "-m", "ruff", *what, *config, *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.filterwarnings("default")
def test_the_fastest_notebook_holds_what_it_claims(tmp_path, monkeypatch):
  check_run(FASTEST, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", [name for name in NAMES if name != FASTEST])
def test_a_notebook_holds_what_it_claims(name, tmp_path, monkeypatch):
  check_run(name, tmp_path, monkeypatch)


def check_run(name, folder, monkeypatch):
  """Runs a notebook: its asserts hold, its pictures come again, in time."""
  unset = () if name == FASTEST else ("XLA_FLAGS",)  # times are of optimised programs
  notebook, seconds = run(name, folder, monkeypatch, unset)
  assert seconds < SECONDS
  for cell, kept in zip(code_cells(notebook), code_cells(load(name)), strict=True):
    assert len(pictures_of(cell)) == len(pictures_of(kept))
    said = [out["text"] for out in cell["outputs"] if out.get("name") == "stderr"]
    lines = "".join("".join(text) for text in said).splitlines()
    assert all(PROGRESS.match(line) for line in lines if line.strip()), lines
