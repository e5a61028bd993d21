"""The command line: each command with its options, and the function that does it.

A command's module is imported when that command is called: `status` loads no HTTP client, and `run` no tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import IO, Any, Final

from capital_governor import __version__
from capital_governor.cli.governor_arguments import GOVERNING
from capital_governor.cli.order_arguments import ORDERING
from capital_governor.cli.output import write_stdout
from capital_governor.contracts.exit_codes import OK, USAGE

_VALUED: Final = {"--root", "--for", "--reason", "--max", "--min", "--seconds", "--seed", "--folder", "--picture"}
"""The options with a value, of all commands."""


class Parser(argparse.ArgumentParser):
    """A parser that writes its help like all other output. ``commands`` has the commands' parsers by name."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - options of the library
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)
        self.commands: Mapping[str, argparse.ArgumentParser] = {}

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        """Write the help, by default to stdout."""
        if file is None:
            write_stdout(self.format_help())
        else:
            super().print_help(file)


def execute(words: list[str]) -> int:
    """Run the command of a command line; return its exit code. Raises SystemExit."""
    parser = make_parser()
    known, unknown = parser.parse_known_args(_with_values(words))
    given = vars(known)
    chosen: argparse.ArgumentParser = given.pop("parser", parser)
    if strangers := [word for word in unknown if word != "--"]:  # a `--` before nothing is as good as none
        chosen.error(f"unrecognized arguments: {' '.join(strangers)}")
    if [] in given.values():  # what argparse makes of a value that is `--`
        chosen.error("'--' is no value of an option")
    if given.pop("version"):
        write_stdout(f"{__version__}\n")
        return OK
    function = given.pop("function", "")
    if not function:
        parser.print_help(sys.stderr)
        return USAGE
    module, _, name = function.partition(":")
    code: int = getattr(import_module(f"capital_governor.cli.{module}"), name)(**given)
    return code


def _with_values(words: Sequence[str]) -> list[str]:
    """Return the words with each value joined to its option, so that ``-2h`` does not count as an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _VALUED:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def make_parser() -> Parser:
    """Return the parser of all commands; each sets ``function`` as ``module:function``."""
    parser = Parser(
        prog="capital-governor",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Decides how much of a fleet's capital each trading agent may use.\nManual: capital-governor docs",
    )
    parser.add_argument("--version", action="store_true", help="Show the version and exit.")
    commands = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", help=argparse.SUPPRESS, parser_class=Parser)
    for add in (*GOVERNING, *ORDERING):
        add(commands)
    parser.commands = commands.choices
    lines = (f"  {name:<11}  {(each.description or '').splitlines()[0]}" for name, each in parser.commands.items())
    parser.epilog = "\n".join(("Commands:", *lines))
    return parser
