"""The generated tables and lists of docs/reference.md, each made from the code that it is about."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from capital_governor.cli.parser import make_parser
from capital_governor.contracts.exit_codes import MEANINGS
from capital_governor.contracts.schema import SCHEMAS
from capital_governor.core.hold import CAUSES, EXITS
from capital_governor.core.model import Rules
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, STAYS, Reason
from capital_governor.settings.kinds import UNITS
from capital_governor.settings.load import Settings
from capital_governor.settings.variables import PREFIX, VARIABLES
from capital_governor.wording.log_events import LogEvent
from capital_governor.wording.reason_texts import message

WIDTH: Final = 100
LEVELS: Final = {"exception": "ERROR, with a traceback"}
"""How a level is shown whose name says something else."""


def regenerated(text: str) -> str:
    """Return the text of docs/reference.md with every generated table and list as the code has it now."""
    for heading, make in GENERATED.items():
        start = text.index(f"\n## {heading}\n")
        end = text.find("\n## ", start + 1)
        section, made = text[start:end] if end >= 0 else text[start:], list(make())
        found = len(BLOCK.findall(section))
        assert found == len(made), f"{heading} has {found} tables and lists, the code makes {len(made)}"
        blocks = iter(made)
        text = text.replace(section, BLOCK.sub(lambda _: next(blocks), section))  # noqa: B023 - used up at once
    return text


BLOCK: Final = re.compile(r"(?:^\|.*\n)+|(?:^ *- .*\n(?:^  .*\n)*)+", re.MULTILINE)
"""A whole table or list of a Markdown text."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|---", "|---") for cells in lines)


def item(text: str, depth: int = 0) -> str:
    indent = "  " * depth
    filled = textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"{indent}- ",
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{filled}\n"


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the program: its arguments as in its usage, what it does, and by option what that does."""

    name: str
    arguments: tuple[str, ...]
    about: str
    options: Mapping[str, str]


def program() -> tuple[tuple[Command, ...], frozenset[str]]:
    """The commands, and the options that the program has without a command."""
    parser = make_parser()

    def options(command: argparse.ArgumentParser) -> dict[str, str]:
        """By the long form, what each option does."""
        named = [(option, action.help) for action in command._actions for option in action.option_strings]
        return {option: str(help_) for option, help_ in named if option.startswith("--") and option != "--help"}

    commands = tuple(
        Command(
            name=name,
            arguments=tuple(
                f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)
                for action in command._actions
                if not action.option_strings
            ),
            about=str(command.description).partition("\n")[0],
            options=options(command),
        )
        for name, command in parser.commands.items()
    )
    return commands, frozenset(options(parser)) | {"--help"}


def commands() -> Iterator[str]:
    """The commands with their arguments and options, and the options with what they do."""
    found, _ = program()
    usages: list[str] = []
    options: dict[tuple[str, str], list[str]] = {}
    for command in found:
        words = [command.name, *command.arguments, *(f"[{option}]" for option in command.options)]
        usages.append(item(f"`{' '.join(words)}`: {command.about}"))
        for option in command.options.items():
            options.setdefault(option, []).append(command.name)
    yield "".join(usages)
    names = [name for name, _ in options]
    told = []
    for (name, meaning), those in sorted(options.items(), key=lambda option: names.index(option[0][0])):
        whose = f" ({', '.join(those)})" if names.count(name) > 1 else ""
        told.append(item(f"`{name}`{whose}: {meaning}"))
    yield "".join(told)


# --- settings ---------------------------------------------------------------------------------------------------------


def settings() -> Iterator[str]:
    head = ("name", "unit", "range", "default", "meaning")
    rows = [
        (
            f"`{variable.name}`",
            variable.unit,
            f"`{variable.kind.range}`" if ".." in variable.kind.range else variable.kind.range,
            default(field),
            variable.meaning,
        )
        for field, variable in VARIABLES.items()
    ]
    yield table(head, [row for row in rows if PREFIX not in row[0]])
    yield table(head, [(row[0].replace(PREFIX, ""), *row[1:]) for row in rows if PREFIX in row[0]])


def default(field: str) -> str:
    """The default as a user would write it."""
    value = VARIABLES[field].default
    if field == "root":
        return "current folder"
    if field == "max_age_set_seconds":
        return f"{Settings().max_age_seconds:g}"
    if value is None or value == ():
        return "never" if field == "release_after_cycles" else "not set"
    if field == "fetch_max_bytes":
        return f"{value // UNITS['MIB']} MiB"
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


# --- reasons ----------------------------------------------------------------------------------------------------------


def reasons() -> Iterator[str]:
    def told(kind: frozenset[Reason]) -> str:
        rows = [(f"`{reason.value}`", message(reason, Rules())) for reason in Reason if reason in kind]
        return table(("reason", "message"), rows)

    yield from (told(MOVES), told(CUTS), told(frozenset({Reason.RESTORE})), told(STAYS))
    holds = [reason for reason in Reason if reason in HOLDS]
    yield "".join(
        item(f"`{reason.value}`: {message(reason, Rules())}. {CAUSES[reason]} *Ends with:* {EXITS[reason]}.")
        for reason in holds
    )
    yield told(GATE_REFUSALS)


# --- files, exit codes, log lines -------------------------------------------------------------------------------------


def fields(properties: Mapping[str, Any]) -> str:
    return "".join(item(f"`{name}`: {schema['description']}") for name, schema in properties.items())


def allocation_files() -> Iterator[str]:
    both, primary = (SCHEMAS[name]["properties"] for name in ("override", "primary"))
    yield fields(both)
    yield fields({name: schema for name, schema in primary.items() if name not in both})


def status_file() -> Iterator[str]:
    properties = SCHEMAS["status"]["properties"]
    yield fields(properties)
    yield fields(properties["orders"]["items"]["properties"])
    yield fields(properties["latches"]["properties"])


def exit_codes() -> Iterator[str]:
    yield table(("code", "when"), [(str(code), meaning) for code, meaning in MEANINGS.items()])


def log_lines() -> Iterator[str]:
    yield "".join(log_line(event) for event in LogEvent)


def log_line(event: LogEvent) -> str:
    """An event's name and level; its sentence, with the bare names of its fields; when it is logged."""
    sentence = re.sub(r"\{(\w+)(?::[^{}]*)?\}", r"{\1}", event.sentence)
    more = [f"`{field}`" for field in event.fields if f"{{{field}}}" not in sentence]
    only = f" JSON also has {' and '.join(more)}." if more else ""
    quoted = f"``{sentence}``" if "`" in sentence else f"`{sentence}`"
    return item(f"`{event.key}` {LEVELS.get(event.level, event.level.upper())}: {quoted} when {event.when}.{only}")


GENERATED: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "Commands": commands,
    "Settings": settings,
    "Reasons": reasons,
    "Exit codes": exit_codes,
    "Allocation files": allocation_files,
    "Status file": status_file,
    "Log lines": log_lines,
}
"""By heading of the chapter, what makes all tables and lists below it, in their order."""
