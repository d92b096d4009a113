"""The command line, `mdm COMMAND ...`: parses, calls `mdm.api`, prints; no logic here.

Heavy modules are imported by the command that needs them, so `mdm --help` is quick. An
error is one sentence on standard error and exit status 1 (2 for a wrong command line);
`--debug` shows where it came from.
"""

from mdm.cli.app import describe_error, main, make_parser

__all__ = ["describe_error", "main", "make_parser"]
