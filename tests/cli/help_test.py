"""The help of every command: what each option is, and examples that are ones."""

import inspect
import shlex

import pytest
from toys import commands

from mdm import api, cli, doctor
from mdm.api import compile_tables
from mdm.cli import app, bench, data

PARSERS = commands.find_commands_of(app.make_parser())
EXAMPLES = {name: commands.find_examples(name) for name in PARSERS}
LINES = [line for lines in EXAMPLES.values() for line in lines]


class ReachedError(Exception):
  """The library was called with arguments that it takes."""


@pytest.fixture
def library(monkeypatch):
  """The library, whose functions do nothing but check how they are called."""

  def stand_in(function):
    def check(*args, **kwargs):
      inspect.signature(function).bind(*args, **kwargs)
      raise ReachedError(function.__name__)

    return check

  for name in api.__all__:
    if inspect.isfunction(getattr(api, name)):
      monkeypatch.setattr(api, name, stand_in(getattr(api, name)))
  monkeypatch.setattr(doctor, "examine", stand_in(doctor.examine))
  monkeypatch.setattr(
    compile_tables, "compile_jobs", stand_in(compile_tables.compile_jobs)
  )


@pytest.mark.parametrize("command", [None, *PARSERS])
def test_a_help_ends_with_examples_of_its_command(command):
  lines = commands.find_examples(command)
  assert lines
  for line in lines:
    assert (
      line.startswith(f"mdm {command or ''}".strip() + " ") or line == f"mdm {command}"
    )
    commands.parse(line)


def test_every_kind_of_benchmark_and_of_work_on_data_has_an_example():
  assert {line.split()[2] for line in EXAMPLES["bench"]} == set(bench.COMMANDS)
  assert {line.split()[2] for line in EXAMPLES["data"]} == set(data.ACTIONS)


@pytest.mark.parametrize("line", LINES)
def test_an_example_reaches_the_library_with_arguments_that_it_takes(line, library):
  with pytest.raises(ReachedError):
    cli.main([*shlex.split(line, comments=True)[1:], "--debug"])


@pytest.mark.parametrize("command", PARSERS)
def test_every_option_says_what_it_is(command):
  for option in PARSERS[command]._actions:
    assert option.help, f"mdm {command} {option.dest}"


@pytest.mark.parametrize("command", PARSERS)
def test_a_help_fits_a_terminal(command, monkeypatch):
  monkeypatch.setenv("COLUMNS", "80")
  lines = PARSERS[command].format_help().splitlines()
  assert max(map(len, lines)) <= 88


@pytest.mark.parametrize(
  "line",
  ["mdm trian x", "mdm train", "mdm train configs/image/mae.py", "mdm bench nothing"],
)
def test_a_command_that_is_none_is_found_out(line):
  with pytest.raises(ValueError, match=r"no command of mdm|does not exist"):
    commands.parse(line)
