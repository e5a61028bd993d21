"""What goes wrong in a newcomer's first ten minutes: each is one sentence that says what happened and what to do."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from capital_governor.client import DECISIONS
from tests.rigs.bot_api import BotApi, refuse
from tests.rigs.commands import NOWHERE, start
from tests.rigs.dashboard import FLEET, Dashboard, fixed, fresh, record
from tests.rigs.hive_server import free_port, serving
from tests.rigs.raw_server import Script
from tests.rigs.script_machine import bare_machine


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended, and its one line on the matter."""

    code: int
    line: str


# --- the commands a newcomer types ------------------------------------------------------------------------------------


def refused(root: Path, env: Mapping[str, str] | None = None) -> Said:
    """A start that settings or root forbid: one line on stderr, nothing on stdout."""
    said = start(root, "run", env=env)
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    return Said(said.code, said.err.strip())


def port_taken(root: Path) -> Said:
    """The hive, where another server has its port."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        said = start(root, "hive", url=f"http://127.0.0.1:{other.getsockname()[1]}")
    assert (said.out, said.err.count("\n")) == ("", 1), said.err
    return Said(said.code, said.err.strip())


def checked(root: Path, url: str, *options: str, row: str, env: Mapping[str, str] | None = None) -> Said:
    """The row of `check` that is about the matter."""
    said = start(root, "check", *options, url=url, env=env)
    (line,) = re.findall(rf"^{row} +(.*)$", said.out, re.MULTILINE)
    return Said(said.code, line)


def held(root: Path, url: str, env: Mapping[str, str] | None = None) -> Said:
    """The one line by which the log of `once` tells of a hold; `check` shows the same facts and the same way out."""
    said = start(root, "once", url=url, env=env)
    (line,) = [line for line in said.err.splitlines() if "maintaining current allocations" in line]
    next_cycle, ends = (checked(root, url, row=row, env=env).line for row in ("next cycle", "ends with"))
    stored = re.sub(r"`\S+ -m capital_governor accept --root \S+`", "`capital-governor accept`", ends)
    assert line.endswith(f"{next_cycle}. Ends with: {stored}")
    return Said(said.code, line)


def held_by(script: Script, env: Mapping[str, str] | None = None) -> Callable[[Path], Said]:
    def play(root: Path) -> Said:
        with Dashboard(script) as dashboard:
            return held(root, dashboard.url, env)

    return play


HIVE: Final = {"CAPITAL_GOVERNOR_HIVE": "1"}


def held_by_the_hive(*lines: str) -> Callable[[Path], Said]:
    """A hive on a root whose agent has reported these lines, or nothing."""

    def play(root: Path) -> Said:
        if lines:
            (root / DECISIONS).mkdir(parents=True)
            (root / DECISIONS / "A.jsonl").write_text("".join(f"{line}\n" for line in lines))
        with serving(root, free_port()) as hive:
            return held(root, hive.url, HIVE)

    return play


def script_without_venv(root: Path) -> Said:
    machine = bare_machine(root)
    machine.add_python("python3", has_venv=False)
    run = machine.run("once")
    assert (run.out, run.err.count("\n")) == ("", 1)
    return Said(run.code, run.err.strip())


def script_with_old_python(root: Path) -> Said:
    machine = bare_machine(root)
    machine.add_python("python3", (3, 10, 13))
    run = machine.run("once")
    assert (run.out, run.err.count("\n")) == ("", 1)
    return Said(run.code, run.err.strip())


def runtime_in_the_way(root: Path) -> Said:
    (root / "runtime").write_text("a file")
    return refused(root)


def wrong_token(root: Path) -> Said:
    with Dashboard(fresh()) as dashboard, BotApi(refuse(401, "Unauthorized")) as api:
        said = checked(root, dashboard.url, "--notify", row="telegram", env=api.environment)
        assert api.asked
        assert api.environment["TELEGRAM_BOT_TOKEN"].partition(":")[2] not in said.line
        return said


def half_a_bot(root: Path) -> Said:
    return refused(root, {"TELEGRAM_BOT_TOKEN": "123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"})


def frozen(agents: int) -> Callable[[Path], Said]:
    def play(root: Path) -> Said:
        fleet = {f"Agent{number}": record(pnl=100.0 * number) for number in range(agents)}
        with Dashboard(fresh(fleet)) as dashboard:
            return checked(root, dashboard.url, row="leeway")

    return play


WALK: Final[dict[str, tuple[Callable[[Path], Said], int, str, str]]] = {
    "no venv module": (
        script_without_venv,
        78,
        r"venv or ensurepip module is missing",
        r"apt-get install python3.*-venv",
    ),
    "old Python": (
        script_with_old_python,
        78,
        r"Python 3\.11 or newer is needed",
        r"apt-get install python3.11 python3.11-venv",
    ),
    "no write permission": (
        lambda _: refused(Path("/proc")),
        78,
        r"/proc cannot be written to",
        r"let the governor's user write there, or make /proc/runtime there for that user",
    ),
    "a root that is none": (
        lambda _: refused(Path("/proc/missing")),  # a long path would be cut in its middle
        78,
        r"/proc/missing is not a folder",
        r"it takes the folder with runtime/, state/, logs/ and \.env",
    ),
    "something in the place of a folder": (
        runtime_in_the_way,
        78,
        r"runtime: File exists",
        r"move away what is in the place of its folder",
    ),
    "port taken": (port_taken, 78, r"port \d+ is taken", r"NEOLIGHT_DASHBOARD_URL"),
    "no dashboard": (
        lambda root: held(root, NOWHERE),
        75,
        r"connection refused by http://127\.0\.0\.1:1/meta/metrics",
        r"start the dashboard, or set NEOLIGHT_DASHBOARD_URL to where it is \(a fleet without one: .*HIVE=1\)",
    ),
    "no hive, though it is on": (
        lambda root: held(root, NOWHERE, HIVE),
        75,
        r"connection refused by http://127\.0\.0\.1:1/meta/metrics; the hive is not running",
        r"`\./neo_light_fix\.sh restart` starts it, and logs/hive\.log says why it ended\. Ends with",
    ),
    "another server than the hive": (
        held_by(fixed(b"<html>", status="404 Not Found"), HIVE),
        75,
        r"another program than the hive has this port",
        r"set another one in NEOLIGHT_DASHBOARD_URL\. Ends with",
    ),
    "hive without a decision": (
        held_by_the_hive(),
        75,
        r"HTTP 503 .*: no agent has reported a decision: there is neither state/.*\.json nor state/decisions/",
        r"\(`capital-governor docs agents` shows how an agent reports one\)\. Ends with: the next good payload$",
    ),
    "hive with a line that is no JSON": (
        held_by_the_hive("{agent: A, pnl: 5}"),
        75,
        r"HTTP 503 .*: state/decisions holds no decision of the last 30 days",
        r"state/decisions/A\.jsonl, line 1: torn or not JSON, and left out\. Ends with",
    ),
    "another server than the dashboard": (
        held_by(fixed(b"<html>", status="404 Not Found")),
        75,
        r"HTTP 404 from http://127\.0\.0\.1:\d+/meta/metrics",
        r"set NEOLIGHT_DASHBOARD_URL to the dashboard that has it",
    ),
    "dashboard answering HTTP 500": (
        held_by(fixed(b"oops", status="500 Internal Server Error")),
        75,
        r"HTTP 500 from http://127\.0\.0\.1:\d+/meta/metrics",
        r"see the dashboard's log, or set NEOLIGHT_DASHBOARD_URL to where it is",
    ),
    "dashboard answering an error": (
        held_by(fixed({"error": "cache failed", "timestamp": "2025-11-03T22:00:00Z"})),
        75,
        r"the dashboard reports an error: cache failed",
        r"see the dashboard's log, or correct NEOLIGHT_DASHBOARD_URL",
    ),
    "no agents": (
        held_by(fresh({})),
        0,
        r"the payload has no agents",
        r"let one report there",
    ),
    "wrong token": (wrong_token, 78, r"no such bot", r"check TELEGRAM_BOT_TOKEN"),
    "half a bot": (half_a_bot, 78, r"TELEGRAM_CHAT_ID is not", r"set both"),
    "bounds that freeze a small fleet": (
        frozen(2),
        0,
        r"both sit at the cap and 20 % stays idle, whatever they score",
        r"Raise CAPITAL_GOVERNOR_MAX_ALLOC above 0\.5",
    ),
    "bounds that freeze a large fleet": (
        frozen(25),
        0,
        r"all sit at 4 %, whatever they score",
        r"Lower CAPITAL_GOVERNOR_MIN_ALLOC",
    ),
    "bounds that contradict each other": (
        lambda root: refused(root, {"CAPITAL_GOVERNOR_MIN_ALLOC": "0.5"}),
        78,
        r"CAPITAL_GOVERNOR_MIN_ALLOC=0\.5 is above CAPITAL_GOVERNOR_MAX_ALLOC=0\.4",
        r"lower one or raise the other",
    ),
    "unknown setting": (
        lambda root: refused(root, {"CAPITAL_GOVERNOR_MAXALLOC": "1"}),
        78,
        r"CAPITAL_GOVERNOR_MAXALLOC \(environment\) is not a setting",
        r"did you mean CAPITAL_GOVERNOR_MAX_ALLOC\?",
    ),
}


@pytest.mark.parametrize("name", WALK)
def test_the_first_errors_say_what_to_do(tmp_path: Path, name: str) -> None:
    """Each has its exit code, and one line with what happened and then the remedy."""
    play, code, happened, remedy = WALK[name]
    said = play(tmp_path)
    assert re.search(f"{happened}.*{remedy}", said.line), said.line
    assert said.code == code


@pytest.mark.parametrize(("max_alloc", "min_alloc"), [("0.9", "0.05"), ("0.4", "0.4")])
def test_the_remedy_for_a_frozen_fleet_is_one(tmp_path: Path, max_alloc: str, min_alloc: str) -> None:
    """Raising the maximum thaws two agents; at equal bounds the advice still names the bound that binds."""
    two = {name: FLEET[name] for name in ("SmartTrader", "ScoutBot")}
    env = {"CAPITAL_GOVERNOR_MAX_ALLOC": max_alloc, "CAPITAL_GOVERNOR_MIN_ALLOC": min_alloc}
    with Dashboard(fresh(two)) as dashboard:
        said = checked(tmp_path, dashboard.url, row="leeway", env=env)
    assert ("Raise CAPITAL_GOVERNOR_MAX_ALLOC above 0.5" in said.line) == (min_alloc == max_alloc)
