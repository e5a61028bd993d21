"""The schemas that `capital-governor schema` prints hold for every file that the program writes, and for few others."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator, ValidationError

from capital_governor.contracts.schema import SCHEMAS
from capital_governor.core.model import Refusal
from capital_governor.core.orders import Order, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.rigs.allocation_files import SETTLED, previous_program
from tests.rigs.cycle_rig import CycleRig
from tests.rigs.patience import PATIENCE_SECONDS

NAMES: Final = ("primary", "override", "status")
SWAPPED: Final = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


def checked(name: str, document: object) -> None:
    """Raise ValidationError where the document is not what the schema of that file says."""
    Draft202012Validator(SCHEMAS[name], format_checker=Draft202012Validator.FORMAT_CHECKER).validate(document)


def written(rig: CycleRig) -> dict[str, dict[str, Any]]:
    paths = zip(NAMES, (rig.primary, rig.override, rig.governor.paths.status), strict=True)
    return {name: json.loads(path.read_bytes()) for name, path in paths if path.exists()}


# --- what the program writes ------------------------------------------------------------------------------------------


def moved(rig: CycleRig) -> None:
    rig.see(risk=0.8)
    rig.see(SWAPPED)


def held(rig: CycleRig) -> None:
    rig.see()
    rig.cycle(Refusal(Reason.FETCH_FAILED, "connection refused"))


def paused(rig: CycleRig) -> None:
    rig.see()
    rig.see(paused=True, said="drawdown")


def stopped(rig: CycleRig) -> None:
    rig.see()
    rig.stop_file.touch()
    rig.see(SWAPPED)


def cut(rig: CycleRig) -> None:
    rig.see()
    rig.see({"Ada": 0.5}, risk=0.5)


def ordered(rig: CycleRig) -> None:
    rig.see()
    journal = open_sqlite(rig.settings.journal_path)
    given: dict[str, Any] = {"author": "anna", "given_at": rig.now}
    journal.put_orders(
        [
            Order(key="1", kind=OrderKind.HOLD, until=rig.now + 3600.0, reason="odd fills", **given),
            Order(key="2", kind=OrderKind.LIMIT, until=None, agent="Ada", cap=0.1, floor=0.02, **given),
            Order(key="3", kind=OrderKind.ACCEPT, until=None, accepts="members_gone", **given),
        ]
    )
    journal.close()
    rig.see()
    said = written(rig)["status"]["orders"]
    assert [order["order"] for order in said] == ["hold", "limit", "accept"]


def withholding(rig: CycleRig) -> None:
    rig.see()
    journal = open_sqlite(rig.settings.journal_path)
    order = Order(key="1", kind=OrderKind.LIMIT, agent="Ada", cap=0.1, author="anna", given_at=rig.now)
    journal.put_orders([order, replace(order, key="2", kind=OrderKind.EXPOSURE, agent="", cap=0.9)])
    journal.close()
    rig.see()
    for name in ("primary", "status"):
        # Exposure 0.9: Ada's plan line is 0.36, of which 0.1 x 0.9 is left.
        assert written(rig)[name]["withheld"] == {"Ada": 0.27}


def failed(rig: CycleRig) -> None:
    rig.see()
    rig.governor.fail("a bug")


def ended(rig: CycleRig) -> None:
    rig.see()
    rig.governor.leave()


def adopted_and_moved(rig: CycleRig) -> None:
    previous_program(rig.root, SETTLED)
    rig.restart()
    rig.see()
    rig.see(SWAPPED)


STATES: Final[tuple[Callable[[CycleRig], object], ...]] = (
    lambda rig: rig.see(),
    moved,
    held,
    paused,
    stopped,
    cut,
    ordered,
    withholding,
    failed,
    ended,
    adopted_and_moved,
    lambda rig: rig.see({"Ada": 0.5}, risk=0.0),
    lambda rig: rig.see({f"Agent {number}": 0.5 for number in range(30)}),
    lambda rig: rig.see({"Ünï \U0001f680": 0.5, "B": 0.1, "C": 0.1}, faulty=("D",)),
)


@pytest.mark.parametrize(
    ("play", "dry_run"),
    [
        *((play, False) for play in STATES),
        # A dry run has a folder of its own, in which there is nothing to adopt.
        *((play, True) for play in STATES if play is not adopted_and_moved),
    ],
)
def test_real_files_are_as_the_schemas_say(tmp_path: Path, play: Callable[[CycleRig], object], dry_run: bool) -> None:
    """Whatever happened, also in a dry run, all files hold; their fields are known, and required but for `withheld`."""
    with CycleRig(tmp_path, dry_run=dry_run) as rig:
        play(rig)
        files = written(rig)
    assert files.keys() == set(NAMES)
    for name, document in files.items():
        checked(name, document)
        described, required = SCHEMAS[name]["properties"].keys(), set(SCHEMAS[name]["required"])
        assert required <= document.keys() <= described
        assert described - required == ({"withheld"} if name == "primary" else set())
    assert files["status"]["dry_run"] is dry_run


def test_a_status_without_a_publication_holds(tmp_path: Path) -> None:
    """Before anything was published, and while another program's shares stand, the status file holds too."""
    with CycleRig(tmp_path) as rig:
        rig.cycle(Refusal(Reason.FETCH_FAILED, "connection refused"))
        files = written(rig)
        assert files.keys() == {"status"}
        assert files["status"]["generation"] is None
        checked("status", files["status"])
        previous_program(tmp_path, SETTLED)
    (tmp_path / "state" / "capital_governor.sqlite3").unlink()
    with CycleRig(tmp_path) as rig:
        rig.see()
        status = written(rig)["status"]
        assert status["generation"] == 0
        checked("status", status)


def test_a_previous_programs_file_is_told_from_ours(tmp_path: Path) -> None:
    """A primary of the program that was here before lacks what ours has."""
    content = previous_program(tmp_path, SETTLED)
    with pytest.raises(ValidationError):
        checked("primary", json.loads(content))


def test_other_fields_are_allowed(tmp_path: Path) -> None:
    """A later version may say more beside what is described."""
    with CycleRig(tmp_path) as rig:
        rig.see()
        for name, document in written(rig).items():
            checked(name, document | {"later": 1})


# --- what it does not write -------------------------------------------------------------------------------------------

SPOILT: Final = (
    ("primary", "allocations", {"Ada": 1.01}),
    ("primary", "allocations", {"Ada": -0.01}),
    ("primary", "allocations", {"Ada": "0.4"}),
    ("primary", "allocations", {"": 0.4}),
    ("primary", "allocations", [0.4]),
    ("primary", "source", "rl_inference"),
    ("primary", "timestamp", "2025-11-03 22:00:00"),
    ("primary", "generation", 0),
    ("primary", "generation", 1.5),
    ("primary", "generation", True),
    ("primary", "decision_id", ""),
    ("primary", "exposure", 1.2),
    ("primary", "reserve", None),
    ("primary", "floor_scale", 2),
    ("primary", "min_allocation", "0.05"),
    ("primary", "max_allocation", 40),
    ("primary", "reason", "paused"),
    ("primary", "reason", "gate_sum"),
    ("primary", "weights", {"Ada": 1.1}),
    ("primary", "scores", {"Ada": -1}),
    ("primary", "withheld", {"Ada": -0.1}),
    ("primary", "withheld", {"": 0.1}),
    ("status", "withheld", [0.1]),
    ("override", "allocations", {"BTC-USD": 5.0}),
    ("override", "source", "portfolio_optimizer"),
    ("status", "state", "paused"),
    ("status", "reason", "bored"),
    ("status", "valid_until", None),
    ("status", "timestamp", 1_762_207_200),
    ("status", "generation", -1),
    ("status", "failures_in_row", -1),
    ("status", "warnings", "none"),
    ("status", "warnings", [1]),
    ("status", "dry_run", "no"),
    ("status", "pid", "1"),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    with CycleRig(tmp_path_factory.mktemp("sound")) as rig:
        rig.see()
        return written(rig)


@pytest.mark.parametrize(("name", "field", "value"), SPOILT)
def test_a_wrong_value_is_refused(sound: dict[str, dict[str, Any]], name: str, field: str, value: object) -> None:
    """A value outside of its range, of another type or another word is refused, and the error names the field."""
    checked(name, sound[name])
    with pytest.raises(ValidationError) as refused:
        checked(name, sound[name] | {field: value})
    assert refused.value.absolute_path[0] == field


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_field_is_refused(sound: dict[str, dict[str, Any]], name: str) -> None:
    """Each field must be there."""
    for field in sound[name]:
        with pytest.raises(ValidationError, match=repr(field)):
            checked(name, {key: value for key, value in sound[name].items() if key != field})


@pytest.mark.parametrize("name", NAMES)
def test_the_schemas_are_schemas(name: str) -> None:
    """Each is valid draft 2020-12, and describes each of its fields in words."""
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    properties: dict[str, dict[str, Any]] = SCHEMAS[name]["properties"]
    assert all(field.get("description") for field in properties.values())


@pytest.mark.parametrize("name", [*NAMES, None])
def test_the_command_prints_them(tmp_path: Path, name: str | None) -> None:
    """`schema NAME` prints that schema as JSON, `schema` alone that of the primary; it needs no root and makes none."""
    words = [sys.executable, "-P", "-W", "error", "-m", "capital_governor", "schema", *([name] if name else [])]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    assert json.loads(done.stdout) == SCHEMAS[name or "primary"]
    assert list(tmp_path.iterdir()) == []
