"""The reference against the code it is generated from, and against what the program does."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Final

import pytest

from capital_governor import __version__, client
from capital_governor.cli.status_page import STANDING
from capital_governor.contracts import exit_codes
from capital_governor.contracts.schema import SCHEMAS
from capital_governor.core.hold import EXITS
from capital_governor.core.reason import Reason
from capital_governor.settings import kinds
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import load
from capital_governor.settings.variables import PREFIX, VARIABLES, variables
from capital_governor.wording import reason_texts
from tests.manual import reference
from tests.manual.pages import (
    PAGES,
    REPOSITORY,
    flat,
    names,
    section,
    tables,
)
from tests.manual.program import Place
from tests.manual.reference import program, regenerated

STATUS_WITH_ANOTHER: Final = SCHEMAS["status"]["properties"] | {"another": {"description": "a new field"}}


def test_the_reference_is_up_to_date() -> None:
    """Every generated table and list of the reference is what the code makes now; README_REFRESH=1 writes them."""
    text = PAGES["reference"].read_text()
    if os.environ.get("README_REFRESH"):
        PAGES["reference"].write_text(regenerated(text))
        pytest.skip("the reference now has the tables of this code")
    assert text == regenerated(text)


def test_a_change_of_the_code_changes_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another default, range, message, end of a hold, exit code or field makes another reference."""
    text = PAGES["reference"].read_text()
    interval = VARIABLES["interval_seconds"]
    for owner, name, value in (
        (reference, "VARIABLES", {**VARIABLES, "interval_seconds": replace(interval, default=299.0)}),
        (reference, "VARIABLES", {**VARIABLES, "interval_seconds": replace(interval, kind=kinds.SECONDS)}),
        (reason_texts, "MESSAGES", {**reason_texts.MESSAGES, Reason.TURNOVER: "Reallocation triggered (anew)"}),
        (reference, "EXITS", {**EXITS, Reason.STOPPED: "remove it"}),
        (reference, "MEANINGS", {**exit_codes.MEANINGS, 3: "another one"}),
        (reference, "SCHEMAS", {**SCHEMAS, "status": SCHEMAS["primary"] | {"properties": STATUS_WITH_ANOTHER}}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            assert regenerated(text) != text, name


def test_general_options() -> None:
    """The options that the program has without a command are in the reference."""
    general = flat(section("reference", "Commands")).partition("Without a command: ")[2].partition(".")[0]
    assert set(re.findall(r"--[a-z-]+", general)) == program()[1]


def test_version(place: Place) -> None:
    """``--version`` says the version and nothing else."""
    assert place.govern("--version").stdout == f"{__version__}\n"


def test_standing_of_status() -> None:
    """The manual explains every word by which ``status`` says whether a governor runs."""
    text = section("operating", "status")
    assert set(names(text[text.index("| standing") :])) == STANDING.keys()


def test_every_reason_is_in_the_reference() -> None:
    """Every reason is there once, under the kind that the JSON of `once` gives it."""
    kinds = {"Moves": "move", "Cuts": "cut", "Restores": "restore", "Stays": "stay", "Holds": "hold"}
    kinds["Refusals"] = "refused"
    _, *parts = re.split(rf"^({'|'.join(kinds)})\b", section("reference", "Reasons"), flags=re.MULTILINE)
    told = [
        (reason, kinds[lead])
        for lead, text in zip(parts[::2], parts[1::2], strict=True)
        for reason in re.findall(r"^(?:\| |- )`(\w+)`", text, re.MULTILINE)
    ]
    assert sorted(told) == sorted((reason.value, reason_texts.reason_kind(reason)) for reason in Reason)


def setting_rows() -> dict[str, list[str]]:
    plain, own = tables(section("reference", "Settings"))
    return {row[0]: row[1:] for row in plain} | {PREFIX + row[0]: row[1:] for row in own}


def test_settings_and_defaults(tmp_path: Path) -> None:
    """Every setting is in the manual with its default, in the program's order."""
    rows, masked = setting_rows(), load(tmp_path, {}).masked()
    assert tuple(rows) == variables()
    for name, (_, _, default, _) in rows.items():
        want = {str(tmp_path): "current folder", "(not set)": "not set"}.get(masked[name], masked[name])
        try:
            assert float(default) == float(want), name
        except ValueError:
            assert default == want, name


def test_ranges_of_settings(tmp_path: Path) -> None:
    """Each numeric setting takes the ends of its range in the manual and refuses what is just outside."""

    def refused(name: str, value: float) -> bool:
        try:
            load(tmp_path, {name: f"{value:.15g}"})
        except SettingsError as error:
            return any(re.match(rf"{name}=.* (is out of range|is not a)", fault) for fault in error.faults)
        return False

    checked = 0
    for name, (unit, span, _, _) in setting_rows().items():
        match = re.fullmatch(r"(>?)([0-9.]+?)\.\.([0-9.]*)", span)
        if match is None:
            continue
        checked += 1
        low, step = float(match[2]), 1.0 if unit in {"cycles", "bytes", "hour", "topic"} else 1e-9
        assert refused(name, low) == bool(match[1]), name
        assert not refused(name, low + step), name
        assert refused(name, low - step), name
        if match[3]:
            assert not refused(name, float(match[3])), name
            assert refused(name, float(match[3]) * (1 + 1e-9) + 1e-9 + (step if step == 1.0 else 0.0)), name
        else:
            assert not refused(name, 1e15), name
    assert checked == 33


def test_words_of_settings(tmp_path: Path) -> None:
    """Each setting that takes one of a few words takes those of the manual and no other."""
    choices = {name: row[1].split(", ") for name, row in setting_rows().items() if row[0] in {"word", "switch"}}
    assert len(choices) == 5
    for name, words in choices.items():
        for word in words:
            load(tmp_path, {name: word})
        with pytest.raises(SettingsError):
            load(tmp_path, {name: "other"})


def test_exit_codes_are_complete() -> None:
    """The manual's exit codes are the program's."""
    codes = {exit_codes.OK, exit_codes.UNEXPECTED, exit_codes.USAGE, exit_codes.TEMPORARY, exit_codes.CONFIGURATION}
    codes |= {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert exit_codes.MEANINGS.keys() == codes


def test_fields_and_choices_of_the_client() -> None:
    """The fields of the client's record and its named choices are those of the manual."""
    _, choices, fields, *_ = tables(section("agents", "Make your agents obey"))
    assert [row[0] for row in fields] == list(signature(client.Allocations).parameters)
    assert {row[0] for row in choices[1:]} == {client.HOLD.upper(), client.FLOOR.upper()}


def test_symptoms_name_what_exists() -> None:
    """Commands, settings, reasons and log texts that the trouble-shooting names are the program's."""
    text = PAGES["trouble"].read_text()
    commands = {command.name for command in program()[0]}
    known = {reason.value for reason in Reason} | set(STANDING) | commands | set(setting_rows())
    known |= {name.removeprefix(PREFIX) for name in setting_rows()}
    named = {word.removeprefix("capital-governor ") for word in re.findall(r"`([^`]+)`", text)}
    unknown = {word for word in named if word.split()[0] not in known and word not in known}
    sources = [REPOSITORY / "neo_light_fix.sh", *(REPOSITORY / "capital_governor").rglob("*.py")]
    spoken = "".join(path.read_text() for path in sources)
    unknown = {word for word in unknown if word not in spoken}
    shown_otherwise = {"./neo_light_fix.sh status", "read_allocations().reason"}
    of_others = {"message thread not found"}
    put_together = {"could not keep its owner"}
    assert unknown == shown_otherwise | of_others | put_together
    assert callable(client.read_allocations)
