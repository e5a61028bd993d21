"""``completion``: prints what makes bash or zsh complete the command lines, made from the parser."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capital_governor.cli.arguments import given_path
from capital_governor.cli.deploy_command import TEMPLATES
from capital_governor.cli.docs_command import TOPICS
from capital_governor.cli.output import fail, write_stdout
from capital_governor.cli.typed import SCRIPT
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.contracts.schema import SCHEMAS
from capital_governor.contracts.text import clean

PROGRAM: Final = "capital-governor"
SHELLS: Final = ("bash", "zsh")
OF_THE_SCRIPT: Final[Mapping[str, str]] = {
    "start": "Keep governor and agents running in the background.",
    "stop": "End the supervisor and all that it keeps.",
    "restart": "Stop, then start: all, or one agent.",
    "logs": "Follow the log of one agent, or all logs.",
    "test": "Format, lint, types, imports, shell, tests.",
    "help": "Show all commands of the script.",
}
"""The commands that only the script has, and what they do."""
_WORDS: Final[Mapping[str, Sequence[str]]] = {
    "docs": tuple(TOPICS),
    "schema": tuple(SCHEMAS),
    "completion": SHELLS,
    "deploy": tuple(TEMPLATES),
}
"""By command, the words that its argument may be."""
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class _Option:
    """An option: its name, what it does, and whether its value is a path or another text; neither: it has none."""

    name: str
    help: str
    is_path: bool
    has_value: bool


@dataclass(frozen=True, slots=True)
class _Command:
    """A command: its name, what it does, its options, and the words that its argument may be."""

    name: str
    about: str
    options: tuple[_Option, ...]
    words: tuple[str, ...]


def completion(shell: str) -> int:
    """Print the completion for a shell; return 2 if it is none of SHELLS."""
    if shell not in SHELLS:
        fail(USAGE, f"completion: {clean(shell, 40)!r} is no shell that it knows: give {' or '.join(SHELLS)}")
    commands = list(_commands())
    write_stdout(_bash(commands) if shell == "bash" else _zsh(commands))
    return OK


def _commands() -> Iterator[_Command]:
    from capital_governor.cli.parser import make_parser  # noqa: PLC0415 - it is running, and imports this by name

    for name, parser in make_parser().commands.items():
        options = tuple(_option(action) for action in parser._actions if action.option_strings)  # noqa: SLF001 - no other way
        yield _Command(name, _sentence(parser.description), options, tuple(_WORDS.get(name, ())))


def _option(action: argparse.Action) -> _Option:
    long = next(name for name in action.option_strings if name.startswith("--"))
    return _Option(long, _sentence(action.help), action.type is given_path, action.nargs is None)


def _sentence(text: str | None) -> str:
    """Return the first sentence, or the first line."""
    return re.split(r"(?<=\.)\s|\n", text or "")[0]


# --- bash -------------------------------------------------------------------------------------------------------------

_BASH: Final = """\
# Completion of {program} and {script} for bash 3.2 and newer, made by `{program} completion bash`.
# shellcheck disable=SC2207 # bash 3.2 has no mapfile
_capital_governor() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command='' words='' options='' IFS=$' \\n'
    COMPREPLY=()
    ((COMP_CWORD < 2)) || command=${{COMP_WORDS[1]}}
    if [[ $command ]]; then
        case $before in
            {paths})
                IFS=$'\\n'
                COMPREPLY=($(compgen -f -- "$word")) || :
                compopt -o filenames 2>/dev/null || :
                return 0
                ;;
            {values}) return 0 ;;
        esac
    fi
    case ${{1##*/}}:$command in
        {script}:)
            words='{script_words}'
            options='--help --version'
            ;;
        *:)
            words='{program_words}'
            options='--help --version'
            ;;
{cases}
    esac
    [[ $word != -* && $words ]] || words=$options
    COMPREPLY=($(compgen -W "$words" -- "$word")) || : # nothing fits
}}
complete -F _capital_governor {program} {script}
"""


def _bash(commands: Sequence[_Command]) -> str:
    every = [option for command in commands for option in command.options]
    paths = dict.fromkeys(option.name for option in every if option.is_path)
    values = dict.fromkeys(option.name for option in every if option.has_value and not option.is_path)
    names = [command.name for command in commands]
    return _BASH.format(
        program=PROGRAM,
        script=SCRIPT.name,
        paths=" | ".join(paths),
        values=" | ".join(values),
        program_words=_folded(names),
        script_words=_folded([*OF_THE_SCRIPT, *names]),
        cases="\n".join(_bash_case(command) for command in commands),
    )


def _folded(words: Sequence[str]) -> str:
    return textwrap.fill(" ".join(words), _WIDTH - 20, subsequent_indent=" " * 12, break_on_hyphens=False).lstrip()


def _bash_case(command: _Command) -> str:
    options = " ".join(option.name for option in command.options)
    words = f" words='{' '.join(command.words)}'" if command.words else ""
    return f"        *:{command.name})\n            options='{options}'{words}\n            ;;"


# --- zsh --------------------------------------------------------------------------------------------------------------

_ZSH: Final = """\
#compdef {program} {script}
# Completion of {program} and {script} for zsh, made by `{program} completion zsh`.
_capital_governor() {{
    local -a known
    known=(
{known}
    )
    if [[ ${{words[1]:t}} == {script} ]]; then
        known+=(
{of_the_script}
        )
    fi
    if ((CURRENT == 2)); then
        _describe command known
        return
    fi
    local command=${{words[2]}}
    shift words
    ((CURRENT--))
    case $command in
{cases}
    esac
}}
if [[ ${{funcstack[1]}} == _capital_governor ]]; then
    _capital_governor "$@"
else
    compdef _capital_governor {program} {script}
fi
"""


def _zsh(commands: Sequence[_Command]) -> str:
    return _ZSH.format(
        program=PROGRAM,
        script=SCRIPT.name,
        known="\n".join(f"        {_zsh_known(command.name, command.about)}" for command in commands),
        of_the_script="\n".join(f"            {_zsh_known(*known)}" for known in OF_THE_SCRIPT.items()),
        cases="\n".join(_zsh_case(command) for command in commands),
    )


def _zsh_known(name: str, about: str) -> str:
    return _quoted(f"{name}:{about}")


def _zsh_case(command: _Command) -> str:
    specs = [_zsh_option(option) for option in command.options]
    if command.words:
        specs.append(_quoted(f"1:{command.name}:({' '.join(command.words)})"))
    return f"        {command.name}) _arguments {' '.join(specs)} ;;"


def _zsh_option(option: _Option) -> str:
    about = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    value = ":path:_files" if option.is_path else ":value: " if option.has_value else ""
    return _quoted(f"{option.name}[{about}]{value}")


def _quoted(text: str) -> str:
    """Return a text in single quotes, for a shell."""
    return "'" + text.replace("'", "'\\''") + "'"
