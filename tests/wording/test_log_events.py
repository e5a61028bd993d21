"""The log's events are a closed set: each has its level, its sentence and its fields, and nothing else is logged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import capital_governor
from capital_governor.adapters.redaction import FIXED
from capital_governor.wording.log_events import IN_WORDS, Line, LogEvent, log_text

PACKAGE: Final = Path(capital_governor.__file__).parent
LEVELS: Final = ("debug", "info", "warning", "error", "exception", "critical", "log")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def calls() -> Iterator[tuple[Path, ast.Call, ast.Attribute]]:
    """Each call of a method in the package."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield path, node, node.func


def is_a_logger(node: ast.expr) -> bool:
    """Whether an expression is, by its name, one of structlog's loggers."""
    return ast.unparse(node) in {"get_logger()", "logs.get_logger()", "self._log", "log", "self._logger", "logger"}


def lines() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Where an event becomes a line, which event, and its fields; ``**`` counts as a field."""
    for path, call, method in calls():
        made_of = ast.unparse(method.value)
        if method.attr == "line" and made_of.startswith("LogEvent."):
            where = f"{path.relative_to(PACKAGE)}:{call.lineno}"
            yield where, made_of.removeprefix("LogEvent."), tuple(word.arg or "**" for word in call.keywords)


def by_name() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Where an event is logged by its name, at which level, its name, and its fields."""
    for path, call, method in calls():
        is_lost = method.attr == "line" and ast.unparse(method.value) == "formatter"
        if is_lost or (method.attr in LEVELS and is_a_logger(method.value)):
            *level, event = (ast.literal_eval(word) for word in call.args)
            fields = tuple(word.arg or "**" for word in call.keywords if word.arg != "exc_info")
            yield f"{path.relative_to(PACKAGE)}:{call.lineno}", (level or [method.attr])[0], event, fields


def test_each_line_has_exactly_the_fields_of_its_event() -> None:
    """No line lacks a field that its sentence shows, and none has one that the event does not name."""
    found = list(lines())
    wrong = [
        f"{where}: {name} with {given}"
        for where, name, given in found
        if sorted(given) != sorted(LogEvent[name].fields)
    ]
    assert wrong == []
    assert len(found) > 60


def test_events_become_lines_by_their_own_method_only() -> None:
    """An event that is handed around instead of made a line on the spot would escape the test above."""
    named, made = set(), set()
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "LogEvent":
                named.add((path, node.lineno, node.attr))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "line":
                event = node.func.value
                if isinstance(event, ast.Attribute) and ast.unparse(event.value) == "LogEvent":
                    made.add((path, event.lineno, event.attr))
    assert named == made


def test_what_adapters_log_by_name_is_an_event() -> None:
    """Adapters stand below the wording and log by name: with the level and the fields of that event."""
    found = list(by_name())
    assert [(where, level, fields) for where, level, name, fields in found] == [
        (where, LogEvent[name.upper()].level, LogEvent[name.upper()].fields) for where, _, name, _ in found
    ]
    assert {name for _, _, name, _ in found} == {
        "chat_moved",
        "exception_ignored",
        "log_lines_lost",
        "no_proxy_ignored",
        "program_failed",
        "thread_failed",
    }


def test_each_event_is_logged_somewhere() -> None:
    """The set has no event that nothing logs."""
    logged = {name for _, name, _ in lines()} | {name.upper() for _, _, name, _ in by_name()}
    assert logged == {event.name for event in LogEvent}


@pytest.mark.parametrize("event", LogEvent)
def test_each_event_is_described(event: LogEvent) -> None:
    """An event says when it is logged, its level is a logger's, and no field has the name of what each line has."""
    assert event.when
    assert event.level in LEVELS
    assert not {*event.fields} & {*FIXED, "source", "exc_info"}
    assert event.key == event.name.lower()


def test_sentences_with_fields_in_words() -> None:
    """Counts have their plural, ratios two digits, and what is empty leaves no trace."""
    assert {how: [IN_WORDS[how](value) for value in values] for how, values in VALUES.items()} == WORDS
    assert VALUES.keys() == IN_WORDS.keys()


VALUES: Final[dict[str, list[object]]] = {
    "after colon": ["", "a"],
    "agents": [1, 2],
    "as sentence": ["over", "Over!", "Who?", "Done."],
    "cycles": [0, 1],
    "dropped": [0, 1, 7],
    "log lines": [1, 3],
    "more": [0, 2],
    "percents": [{}, {"Ada": 0.125, "Bob": 0.2}],
    "ratio": [0.1, 0.125],
    "shares": [{}, {"Ada": 0.4, "Bo": 0.208288}],
    "reserve": [0.0, 0.2],
}
WORDS: Final = {
    "after colon": ["", ": a"],
    "agents": ["1 agent", "2 agents"],
    "as sentence": ["over.", "Over!", "Who?", "Done."],
    "cycles": ["0 cycles", "1 cycle"],
    "dropped": [
        "",
        "; 1 older cycle did not fit into memory and cannot be looked up any more",
        "; 7 older cycles did not fit into memory and cannot be looked up any more",
    ],
    "log lines": ["1 log line was", "3 log lines were"],
    "more": ["", " and 2 more"],
    "percents": ["", "Ada 12.5%, Bob 20.0%"],
    "ratio": ["0.10", "0.125"],
    "shares": ["{}", "{'Ada': 0.40, 'Bo': 0.208288}"],
    "reserve": ["", "; the bounds leave 0.20 in reserve"],
}


def test_a_line_is_its_sentence() -> None:
    """Text, level and fields of a line are those of its event; a repeated line is for DEBUG."""
    line = LogEvent.HOLD_BEGAN.line(reason="paused", message="Paused", detail="no reason", ends_with="a good payload")
    assert line.text == "Paused: no reason. Ends with: a good payload"
    assert (line.level, Line(line.event, line.fields, repeated=True).level) == ("warning", "debug")
    assert log_text("hold_began", line.fields) == line.text
    assert log_text("hold", line.fields) is None
    with pytest.raises(KeyError, match="detail"):
        log_text("hold_began", {"message": "Paused"})
