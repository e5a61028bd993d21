"""What the manual shows of one root: output, files, and readers of them.

README_REFRESH=1 in the environment puts the output that the shown commands have now into the manual.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capital_governor.contracts.status import order_document
from capital_governor.core.orders import Order, OrderKind
from capital_governor.hive.past_file import PAST
from capital_governor.service.governor_return import end_marker
from capital_governor.wording.log_events import LogEvent
from tests.manual.pages import (
    PAGES,
    TEXT,
    TEXTS,
    after,
    blocks,
    flat,
    listed,
    names,
    section,
    shell,
    tables,
)
from tests.manual.program import SHOWN_ROOT, Place, in_shell, output_of
from tests.manual.reference import program
from tests.rigs.builders import NOW
from tests.rigs.dashboard import Dashboard, fixed
from tests.rigs.patience import PATIENCE_SECONDS, wait_until


@pytest.fixture(scope="module")
def session(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The output of every command that the manual shows, in its order; ``run`` is running from ``status`` on."""
    shown = [line[2:] for block in blocks(TEXT, "console") for line in block.splitlines() if line.startswith("$ ")]
    position = shown.index("capital-governor status")
    said = {command: output_of(command, place) for command in shown[:position]}
    before = place.file("capital_governor_status.json")["pid"]
    with place.running(tmp_path_factory.mktemp("log") / "log"):
        wait_until(lambda: place.file("capital_governor_status.json")["pid"] != before)
        yield said | {command: output_of(command, place) for command in shown[position:]}


def test_commands_print_what_is_shown(session: dict[str, str]) -> None:
    """Every command that the manual shows prints exactly what is shown, but for time, place and process."""

    def with_output(block: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", block[1], re.MULTILINE)
        return "```console\n" + "".join(f"$ {command}\n{session[command]}" for command in commands) + "```"

    pattern = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    if os.environ.get("README_REFRESH"):
        for path in PAGES.values():
            path.write_text(pattern.sub(with_output, path.read_text()))
        pytest.skip("the manual now shows the output of this run")
    assert {page: pattern.sub(with_output, text) for page, text in TEXTS.items()} == TEXTS


def test_fields_of_the_json(session: dict[str, str], place: Place) -> None:
    """The fields that the manual lists for each ``--json`` are those that come out."""
    assert session
    said = place.json("once", "--dry-run")
    assert set(names(after("`once --json`:"))) == said.keys() | {f"agents[].{key}" for key in said["agents"][0]}
    status, written = place.json("status"), place.file("capital_governor_status.json")
    assert set(listed(section("reference", "Status file"))) == written.keys()
    assert set(names(after("`status --json` has the fields of the"))) == status.keys() - written.keys()
    assert set(names(after("Each of `agents_now`"))) == status["agents_now"][0].keys()
    assert set(re.findall(r"`(\w+)`", flat(after("\n`supervisor` has")))) >= {"state", "exit_code", "text"}
    told = flat(after("`exposure_now` has"))
    for name in ("exposure_now", "next_move"):
        part = told.partition(f"`{name}` has ")[2].partition("`next_move` has")[0]
        assert status[name].keys() <= set(re.findall(r"`(\w+)`", part)), name
    history, decisions = place.json("history"), place.json("decisions")
    assert set(names(after("`history --json`:"))) == history.keys()
    assert {"at", "until", "kind", "text"} <= history["events"][0].keys()
    assert set(names(after("`decisions --json` has"))) == decisions["decisions"][0].keys()
    assert decisions.keys() == {"root", "fleet", "since", "decisions"}
    diff = place.json("diff", "1", "1")
    assert set(names(after("`diff --json`:"))) == diff.keys()
    told = flat(after("`before` and `after` have"))
    assert set(re.findall(r"`(\w+)`", told.partition(". `scores`")[0])) - {"before", "after"} == diff["before"].keys()
    assert {f"`{name}`" for name in diff["agents"][0]} <= set(re.findall(r"`\w+`", flat(after("`diff --json`:"))))
    assert set(names(after("`explain --json`:"))) == place.json("explain", "SmartTrader").keys()
    ordered = place.json("hold")
    assert set(names(after("An order with `--json`:"))) == ordered.keys() == place.json("resume").keys()
    check = place.json("check")
    assert set(names(after("`check --json`:"))) == check.keys()
    doctor = place.json("doctor")
    assert set(names(after("`doctor --json`:"))) == doctor.keys() | {f"findings[].{n}" for n in doctor["findings"][0]}
    leeway = next(row[1] for row in tables(after("`check --json`:"))[0] if row[0] == "leeway")
    assert set(re.findall(r"\w+", leeway)) == check["leeway"].keys()
    assert place.json("limits").keys() == {"root", "orders"}
    shown = flat(after("`limits --json` has"))
    for words in (("exposure",), ("limit", "SmartTrader")):
        _, _, told = shown.partition(f"{words[0]}{' AGENT' * (len(words) - 1)} --json` has ")
        assert place.json(*words).keys() == set(re.findall(r"`(\w+)`", told.partition(". `")[0].partition(":")[0]))
    fields = order_document(Order(key="", kind=OrderKind.HOLD, author="anna", given_at=NOW)).keys()
    assert set(listed(after("Each of `orders`:"))) == fields
    assert set(listed(after("Each of `latches` is true or false:"))) == written["latches"].keys()
    assert set(names(after("`reload --json`:"))) == place.json("reload").keys()
    assert place.json("docs", "plan").keys() == {"topic", "text"}
    for row in place.json("show-config").values():
        assert set(names(after("`show-config --json` is an"))) == row.keys()


def test_every_json_is_told_of() -> None:
    """The reference describes the JSON of every command that has some; those that only order have one form."""
    text = section("reference", "JSON of the commands")
    told = set(re.findall(r"`([a-z-]+)(?: [A-Z]+)? --json`", text)) | {"hold", "resume", "accept", "release", "unlimit"}
    assert told == {command.name for command in program()[0] if "--json" in command.options}


def test_fields_of_the_files(session: dict[str, str], place: Place) -> None:
    """The fields that the manual lists for both allocation files are those that stand in them."""
    assert session
    both, more = (set(listed(part)) for part in (after("\nBoth files:\n"), after("\nThe primary has also:\n")))
    assert place.file("allocations_override.json").keys() == both
    # Nothing is withheld here, so that the field is not there.
    assert place.file("capital_governor_allocations.json").keys() == (both | more) - {"withheld"}
    assert "withheld" in more


def test_files_are_where_the_manual_says(session: dict[str, str], place: Place) -> None:
    """Every file that a run leaves is in the table of files; the others there come from others, or while it is down."""
    assert session
    made = {str(path.relative_to(place.root)) for path in place.root.rglob("*") if path.is_file()}
    made = {name.removesuffix("-wal").removesuffix("-shm") for name in made}
    foreign = {"runtime/capital_governor.STOP", "state/guardian_pause.json", "state/decisions/", ".env", str(PAST)}
    down = {str(end_marker(place.root / "runtime").relative_to(place.root))}
    assert set(names(section("reference", "Files"))) == made | foreign | down


def test_the_journal_answers(session: dict[str, str], place: Place) -> None:
    """The manual's query finds the newest cycle first."""
    assert session
    (query,) = blocks(section("reference", "Journal"), "sql")
    with sqlite3.connect(f"file:{place.root}/state/capital_governor.sqlite3?mode=ro", uri=True) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    assert [row[1:] for row in rows] == [("unchanged", 1), ("first_allocation", 1)]
    assert time.strftime("%Y-") == rows[0][0][:5]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """How commands end on a root of which the dashboard reports errors, by command; their logs are JSON."""
    with Dashboard(fixed({"error": "cache failed"})) as dashboard:
        place = Place(tmp_path_factory.mktemp("troubled"), dashboard, {"LOG_FORMAT": "json"})
        commands = ("run --root missing", "once", "check", "status", "explain SmartTrader")
        ended = {command: place.govern(*command.split()) for command in commands}
        (place.root / "runtime" / "capital_governor.STOP").touch()
        return ended | {"once under STOP": place.govern("once")}


def test_exit_codes_are_true(
    session: dict[str, str], place: Place, troubled: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    """What the manual says of the codes 0, 2, 75 and 78 is so."""
    assert session
    assert place.govern("run").returncode == 75
    assert place.govern("explain", "Nobody").returncode == 2
    assert {command: ended.returncode for command, ended in troubled.items()} == {
        "run --root missing": 78,
        "once": 75,
        "check": 75,
        "status": 75,
        "explain SmartTrader": 75,
        "once under STOP": 0,
    }


def test_log_as_json(troubled: dict[str, subprocess.CompletedProcess[str]]) -> None:
    """A JSON log line has the keys that the manual names and its event's fields, and so has the line that it shows."""
    text = section("reference", "Log lines")
    named = flat(text).partition("each line is one object: ")[2].partition("and the event's fields")[0]
    general = set(re.findall(r"`(\w+)`", named))
    lines = [json.loads(line) for line in troubled["once"].stderr.splitlines()]
    assert any("Meta-metrics refused" in line["event"] for line in lines)
    (shown,) = blocks(text, "json")
    for line in (*lines, json.loads(shown)):
        event = LogEvent[line["event_name"].upper()]
        assert line.keys() == general | set(event.fields)
        assert line["event"] == event.text(line)


def test_reader(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's reader gives a live governor's share, and 0 for a stranger's file, a dead governor and no file."""
    assert session
    (code,) = blocks(section("agents", "Readers"), "python")
    runtime = tmp_path / "runtime"

    def share(agent: str = "CryptoTrend") -> float:
        call = f"{code}\nprint(share({agent!r}, Path({str(tmp_path)!r})))"
        ran = subprocess.run(
            [sys.executable, "-c", call], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        )
        return float(ran.stdout)

    def change(name: str, field: str, value: object) -> None:
        (runtime / name).write_text(json.dumps(json.loads((runtime / name).read_text()) | {field: value}))

    assert share() == 0.0
    shutil.copytree(place.root / "runtime", runtime)
    assert share() == 0.32
    assert share("Nobody") == 0.0
    change("capital_governor_allocations.json", "source", "rl_inference")
    assert share() == 0.0
    change("capital_governor_allocations.json", "source", "capital_governor")
    change("capital_governor_status.json", "valid_until", "2025-11-03T22:00:00Z")
    assert share() == 0.0


def test_the_client_as_shown(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's uses of the client size a position by the share, and by the choice once the governor is dead."""
    assert session
    simple, record = [
        code for code in blocks(section("agents", "Make your agents obey"), "python") if "capital = " in code
    ]
    runtime = shutil.copytree(place.root / "runtime", tmp_path / "runtime")

    def run(code: str) -> list[str]:
        program = f"equity = 100_000\n{code.replace(SHOWN_ROOT, str(tmp_path))}\nprint(round(capital, 3))"
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        )
        return ran.stdout.splitlines()

    assert (run(simple), run(record)) == (["23171.2"], ["23171.2"])
    status = runtime / "capital_governor_status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"valid_until": "2025-11-03T22:00:00Z"}))
    assert run(simple) == ["0.0"]
    reason, capital = run(record)
    assert reason.startswith("governor: the governor is dead: its last cycle was ")
    assert capital == "4000.0"  # MIN_ALLOC 0.05 at exposure 0.8


def test_the_client_in_a_shell(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's shell lines print the published share, and all of them."""
    assert session
    shutil.copytree(place.root / "runtime", tmp_path / "runtime")
    of_one, of_all, *_ = shell("agents", "Make your agents obey")
    assert in_shell(f'{of_one.replace(SHOWN_ROOT, str(tmp_path))}echo "$share"', tmp_path) == "0.231712\n"
    assert (
        ast.literal_eval(in_shell(of_all, tmp_path))
        == json.loads((tmp_path / "runtime" / "capital_governor_allocations.json").read_text())["allocations"]
    )


def test_a_backup_of_the_journal(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's backup, as often as it is taken, has the same cycles, is for its owner only, and serves again."""
    assert session
    (backup,) = [snippet for snippet in shell("operating", "Operating") if "VACUUM" in snippet]
    shutil.copytree(place.root / "state", tmp_path / "state")
    (tmp_path / "elsewhere" / "state").mkdir(parents=True)
    with pytest.raises(AssertionError, match="unable to open database file"):
        in_shell(backup, tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere" / "state").iterdir()) == []
    in_shell(backup, tmp_path)
    (first,) = (tmp_path / "state").glob("journal-*Z.bak")
    first.rename(tmp_path / "journal.bak")
    in_shell(backup, tmp_path)
    (second,) = (tmp_path / "state").glob("journal-*Z.bak")
    assert [stat.S_IMODE(copy.stat().st_mode) for copy in (tmp_path / "journal.bak", second)] == [0o600, 0o600]

    def cycles(path: Path) -> list[Any]:
        with sqlite3.connect(path) as connection:
            found = connection.execute("SELECT seq, reason, published FROM cycles ORDER BY seq").fetchall()
        connection.close()
        return found

    live = tmp_path / "state" / "capital_governor.sqlite3"
    assert len(cycles(tmp_path / "journal.bak")) >= 2
    assert cycles(tmp_path / "journal.bak") == cycles(live)
    for path in live.parent.glob("capital_governor.sqlite3*"):
        path.unlink()
    shutil.move(tmp_path / "journal.bak", live)
    explained = place.call(
        sys.executable, "-P", "-m", "capital_governor", "explain", "SmartTrader", "--root", str(tmp_path), "--json"
    )
    assert json.loads(explained.stdout)["share_after"] == 0.231712
