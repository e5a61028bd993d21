"""The command line: each command with its options, and the function that does it.

A command's module is imported when that command is called: `status` loads no HTTP client, and `run` no tables.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import IO, Any, Final, NoReturn

from capital_governor import __version__
from capital_governor.cli.governor_arguments import GOVERNING
from capital_governor.cli.order_arguments import ORDERING
from capital_governor.cli.output import fail, write_stdout
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.contracts.text import clean

_VALUED: Final = {
    "--root",
    "--for",
    "--reason",
    "--max",
    "--min",
    "--since",
    "--seconds",
    "--seed",
    "--folder",
    "--picture",
}
"""The options with a value, of all commands."""


_WRONG_USAGE: Final = (
    (re.compile(r"the following arguments are required: (.*)"), r"\1 is missing"),
    (re.compile(r"(?:argument )?(\S+): expected one argument"), r"\1 needs a value"),
    (re.compile(r"(?:argument )?(\S+): ignored explicit argument (.*)"), r"\1 takes no value, and was given \2"),
    (re.compile(r"argument (\S+): "), r"\1 "),
)
"""The library's messages, and what takes their place."""


class Parser(argparse.ArgumentParser):
    """A parser that writes its help like all other output, and its errors in this program's words.

    ``commands`` has the commands' parsers by name.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - options of the library
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, add_help=False, formatter_class=formatter, **options)
        self._positionals.title, self._optionals.title = "Arguments", "Options"
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")
        self.commands: Mapping[str, argparse.ArgumentParser] = {}

    def error(self, message: str) -> NoReturn:
        """Write the usage and what is wrong with the command line to stderr. Raises SystemExit 2."""
        for pattern, words in _WRONG_USAGE:
            message = pattern.sub(words, message, count=1)
        self.print_usage(sys.stderr)
        command = self.prog.partition(" ")[2]
        fail(USAGE, f"{command}: {message}" if command else message)

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        """Write the help, by default to stdout."""
        if file is None:
            write_stdout(self.format_help())
        else:
            super().print_help(file)


def execute(words: list[str]) -> int:
    """Run the command of a command line; return its exit code. Raises SystemExit."""
    parser = make_parser()
    _demand_command(parser, words)
    known, unknown = parser.parse_known_args(_with_values(words))
    given = vars(known)
    chosen: argparse.ArgumentParser = given.pop("parser", parser)
    if strangers := [word for word in unknown if word != "--"]:  # a `--` before nothing is as good as none
        some = f"{' '.join(map(_shown, strangers))} cannot be given here"
        chosen.error(some)
    if [] in given.values():  # what argparse makes of a value that is `--`
        chosen.error("'--' cannot be the value of an option")
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


def _demand_command(parser: Parser, words: Sequence[str]) -> None:
    """Refuse a first word that is no command, with the one that may be meant. Raises SystemExit 2."""
    word = next(iter(words), "-")
    if word.startswith("-") or word in parser.commands:
        return
    near = get_close_matches(word, parser.commands, n=1)
    parser.error(f"{_shown(word)} is no command; " + (f"did you mean {near[0]}?" if near else "--help lists them all"))


def _shown(word: str) -> str:
    return repr(clean(word, 40))


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
