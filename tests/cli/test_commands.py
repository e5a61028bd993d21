"""The commands as a user meets them: real processes, a real dashboard, pipes and terminals."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capital_governor import __version__
from capital_governor.adapters.lock import RootLock
from capital_governor.cli.parser import _VALUED, execute, make_parser
from capital_governor.core.hold import EXITS
from capital_governor.core.model import Rules
from capital_governor.core.reason import Reason
from capital_governor.journal.notices import Backlog
from capital_governor.service.standing import Standing, Vitals, status_document
from capital_governor.settings.variables import variables
from tests.rigs.commands import (
    NOWHERE,
    CommandResult,
    ask_loaded,
    call,
    command,
    decent,
    environment,
    on_terminal,
    start,
    tree,
)
from tests.rigs.daemon import governing
from tests.rigs.dashboard import FLEET, Dashboard, fixed, fresh, payload, record
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import hang

COMMANDS = (
    *("run", "once", "status", "explain", "check", "show-config", "hive"),
    *("hold", "resume", "accept", "exposure", "release", "limit", "unlimit", "limits"),
)
pytestmark = pytest.mark.usefixtures("loaded")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PRIMARY, STATUS = "runtime/capital_governor_allocations.json", "runtime/capital_governor_status.json"
LOCK, STOP = "runtime/capital_governor.lock", "runtime/capital_governor.STOP"


@pytest.fixture(scope="module")
def dashboard() -> Iterator[Dashboard]:
    with Dashboard(fresh(risk=0.8)) as server:
        yield server


@pytest.fixture(scope="module")
def governed(dashboard: Dashboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which one cycle was taken. Tests only read it."""
    root = tmp_path_factory.mktemp("governed")
    assert call(root, "once", url=dashboard.url).code == 0
    return root


@pytest.fixture(scope="module")
def paused(dashboard: Dashboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which, after a decision, the Guardian paused with a reason full of brackets. Tests only read it."""
    root = tmp_path_factory.mktemp("paused")
    assert call(root, "once", url=dashboard.url).code == 0
    (root / "state" / "guardian_pause.json").write_text(
        json.dumps({"paused": True, "reason": "[bold red]Überlast[/] [x] :warning:"})
    )
    assert call(root, "once", url=dashboard.url).code == 0
    return root


# --- once -------------------------------------------------------------------------------------------------------------


def test_once_publishes_and_says_so(tmp_path: Path, dashboard: Dashboard) -> None:
    """`once --json` says on stdout what it wrote to the file, and logs to stderr."""
    said = start(tmp_path, "once", "--json", url=dashboard.url)
    document, written = said.json, json.loads((tmp_path / PRIMARY).read_bytes())
    assert said.code == 0
    assert {row["agent"]: row["share"] for row in document["agents"]} == written["allocations"]
    assert [row["share"] for row in document["agents"]] == sorted(written["allocations"].values(), reverse=True)
    assert document["reserve"] == written["reserve"] == pytest.approx(0.2)
    assert document["generation"] == written["generation"] == 1
    assert (document["reason"], document["outcome"], document["moved"]) == ("first_allocation", "move", True)
    assert (document["exposure"], document["exposure_by"]) == (0.8, "regime")
    assert document["reserve_change"] is None
    assert all(" [capital_governor] " in line for line in said.err.splitlines())
    assert "Allocations saved: " in said.err


def test_once_shows_a_table(governed: Path, dashboard: Dashboard) -> None:
    """The table of `once` has a line for each agent, by falling share, and one for the reserve; 100 % in all."""
    said = call(governed, "once", "--dry-run", url=dashboard.url)
    rows = [line.split() for line in said.out.splitlines() if line.endswith("%")]
    assert [row[0] for row in rows] == ["RangeTrader", "SmartTrader", "DropshipAgent", "ScoutBot", "reserve"]
    assert sum(float(row[-1].rstrip("%")) for row in rows) == pytest.approx(100, abs=0.03)
    assert "With 4 agents within 0.05 and 0.40, scores can move a weight between 0.0500 and 0.4000" in said.out


def test_once_shows_what_changed_and_who_may_not_gain(tmp_path: Path, dashboard: Dashboard) -> None:
    """A move shows each agent's change, a faulty agent is marked and its fault told."""
    assert call(tmp_path, "once", url=dashboard.url).code == 0
    other = {
        **FLEET,
        "SmartTrader": record(pnl=9_000, sharpe=2.9, winrate=0.9, drawdown=0),
        "ScoutBot": {"pnl_7d": "1"},
    }
    with Dashboard(fresh(other, risk=0.5)) as changed:
        said = call(tmp_path, "once", url=changed.url)
    (smart,) = [line for line in said.out.splitlines() if line.startswith("SmartTrader")]
    (reserve,) = [line for line in said.out.splitlines() if line.startswith("reserve")]
    assert said.code == 0
    assert smart.split()[3:] == ["20.00%", "-0.67%"] or smart.split()[-2] == "20.00%"
    assert reserve.split()[-1].startswith("+3")
    assert "ScoutBot (!)" in said.out
    assert '(!) ScoutBot: pnl_7d is "1", not a number' in said.out


def test_a_dry_run_writes_nothing_into_an_empty_root(tmp_path: Path, dashboard: Dashboard) -> None:
    """`once --dry-run` in an empty root decides, says that nothing was written, and leaves the root empty."""
    before = tree(tmp_path)
    said = call(tmp_path, "once", "--dry-run", url=dashboard.url)
    assert said.code == 0
    assert "Dry run: nothing was written" in said.out
    assert "generation 1 (not published)" in said.out
    assert tree(tmp_path) == before


def test_a_dry_run_that_moves_nothing_shows_the_published_generation(tmp_path: Path, dashboard: Dashboard) -> None:
    """Only a generation that a dry run would make is marked as not published, not the one that stands."""
    assert call(tmp_path, "once", url=dashboard.url).code == 0
    said = call(tmp_path, "once", "--dry-run", url=dashboard.url)
    assert "generation 1, exposure" in said.out


def test_reading_commands_write_nothing_beside_a_running_governor(tmp_path: Path, dashboard: Dashboard) -> None:
    """With a governor at work, neither a dry run nor any command that only looks changes a byte or a time stamp."""
    with governing(tmp_path, dashboard.url):
        before = tree(tmp_path)
        for arguments in (("once", "--dry-run"), ("check",), ("status",), ("explain", "ScoutBot"), ("show-config",)):
            assert call(tmp_path, *arguments, url=dashboard.url).code == 0
        assert tree(tmp_path) == before


def test_a_dry_run_decides_as_once_does(tmp_path: Path) -> None:
    """What a dry run announces is what `once` then does, memory of the journal included."""
    with Dashboard(fresh()) as server:
        assert call(tmp_path, "once", url=server.url).code == 0
        server.next(fresh({**FLEET, "Newcomer": record(winrate=0.9)}, risk=0.5))
        announced, done = (
            call(tmp_path, "once", "--json", *more, url=server.url).json for more in (("--dry-run",), ())
        )
    assert announced.pop("dry_run") is not done.pop("dry_run")
    assert announced == done
    assert done["generation"] == 2


def test_a_dry_run_refuses_a_journal_it_cannot_read(tmp_path: Path, dashboard: Dashboard) -> None:
    """Without the memory in the journal a dry run would announce something else than `once` does: it exits 75."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "capital_governor.sqlite3").write_bytes(b"garbage" * 1_000)
    said = call(tmp_path, "once", "--dry-run", url=dashboard.url)
    assert said.code == 75
    assert said.out == ""
    assert "capital_governor.sqlite3" in said.err


def test_once_without_a_dashboard_exits_75(governed: Path, tmp_path: Path) -> None:
    """A dashboard that is down is a hold that `once` explains, with its exit, and exit code 75."""
    said = call(tmp_path, "once")
    assert said.code == 75
    assert "Meta-metrics not fetched - maintaining current allocations" in said.out
    assert re.search(
        r"^because +connection refused by http://127\.0\.0\.1:1/meta/metrics; start", said.out, re.MULTILINE
    )
    assert re.search(r"^ends with +the next good payload$", said.out, re.MULTILINE)
    assert not (tmp_path / PRIMARY).exists()
    held = call(governed, "once", "--dry-run", "--json")
    assert held.code == 75
    assert (held.json["outcome"], held.json["exit"]) == ("hold", EXITS[Reason.FETCH_FAILED])
    assert [row["share"] is not None for row in held.json["agents"]] == [True] * 4


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_of_a_running_and_of_a_killed_governor(tmp_path: Path, dashboard: Dashboard) -> None:
    """`status` exits 0 while a governor lives, and says as soon as it was killed that it is dead."""
    with governing(tmp_path, dashboard.url) as daemon:
        running, plain = call(tmp_path, "status", "--json"), call(tmp_path, "status")
        daemon.kill()
        killed = call(tmp_path, "status", "--json")
    written = json.loads((tmp_path / PRIMARY).read_bytes())
    assert (running.code, running.json["standing"], running.json["alive"]) == (0, "running", True)
    assert (running.json["state"], running.json["pid"]) == ("governing", daemon.process.pid)
    assert running.json["allocations"] == written["allocations"]
    assert plain.code == 0
    assert plain.out.startswith("Running, governing\nact        no action needed\n")
    assert re.search(rf"^last cycle \d s ago, by process {daemon.process.pid}$", plain.out, re.MULTILINE)
    assert re.search(r"^SmartTrader +[0-9.]+% +0\.3749 +[0-9.]+% +10\.00%$", plain.out, re.MULTILINE)
    assert (killed.code, killed.json["standing"], killed.json["alive"]) == (75, "dead", False)


def test_status_after_an_orderly_end(governed: Path) -> None:
    """A governor that has ended is not running, and was not killed; exit code 75."""
    said = call(governed, "status")
    assert said.code == 75
    assert re.match(
        r"Stopped normally after its cycle at \d\d:\d\d UTC; agents keep their shares until [0-9: -]+ UTC\n"
        rf"act        start it again if capital is to be governed: `capital-governor run --root {governed}`\n",
        said.out,
    )


@pytest.mark.parametrize(
    ("state", "age_seconds", "standing"),
    [("ended", 0, "starting"), ("governing", 0, "running"), ("governing", 100_000, "late")],
)
def test_status_while_the_lock_is_held(tmp_path: Path, state: str, age_seconds: float, standing: str) -> None:
    """The lock says that a governor lives, the file what it has done: nothing yet, its duty, nothing for too long."""
    (tmp_path / "runtime").mkdir()
    at = time.time() - age_seconds
    content = status_document(
        Standing(state=state, at=at), Vitals(), interval_seconds=300, rules=Rules(), dry_run=False, pid=os.getpid()
    )
    (tmp_path / STATUS).write_bytes(content)
    lock = RootLock(tmp_path / LOCK)
    lock.acquire()
    try:
        said = call(tmp_path, "status", "--json")
    finally:
        lock.release()
    assert said.json["standing"] == standing
    assert said.code == (0 if standing == "running" else 75)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (
            1,
            [
                "metrics    none usable yet, 1 cycle in a row without",
                "telegram   1 message refused, the last: no such chat",
                "telegram   1 message waiting",
                "log        1 line could not be written",
            ],
        ),
        (
            2,
            [
                "metrics    none usable yet, 2 cycles in a row without",
                "telegram   2 messages refused, the last: no such chat",
                "telegram   2 messages waiting: no proxy",
                "log        2 lines could not be written",
            ],
        ),
    ],
)
def test_status_of_a_dead_governor_says_what_to_do_and_counts_in_words(
    tmp_path: Path, number: int, says: list[str]
) -> None:
    """Nobody ended it: the log and a start come next; one of a thing is not told as several."""
    (tmp_path / "runtime").mkdir()
    standing = Standing(
        state="holding",
        at=time.time(),
        failures_in_row=number,
    )
    vitals = Vitals(
        log_failures=number,
        notices=Backlog(
            pending=number, refused=number, refused_detail="no such chat", pending_detail="no proxy" * (number - 1)
        ),
    )
    (tmp_path / STATUS).write_bytes(
        status_document(standing, vitals, interval_seconds=300, rules=Rules(), dry_run=False, pid=1)
    )
    said = call(tmp_path, "status")
    assert said.code == 75
    first, act, telegram, fleet, *rest = said.out.splitlines()
    assert re.fullmatch(r"CRASHED OR KILLED after its cycle at .* UTC; agents keep their shares until .* UTC", first)
    assert act == f"act        see the end of its log, then start it again: `capital-governor run --root {tmp_path}`"
    notify = f"`capital-governor check --notify --root {tmp_path}`"
    assert telegram == f"act        correct what Telegram refuses: {notify} shows it"
    assert fleet.endswith(f", root {tmp_path}")
    assert rest == says


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"state": "governing"}', "nonsense"])
def test_status_of_a_foreign_file(tmp_path: Path, content: str) -> None:
    """What is no status file is said to be none in one line, exit code 75."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / STATUS).write_text(content)
    said = call(tmp_path, "status")
    assert (said.code, said.out) == (75, "")
    assert said.err.endswith("is not a status file of this version: the next cycle replaces it\n")


def test_status_tells_of_an_allocation_file_that_cannot_be_read(tmp_path: Path, dashboard: Dashboard) -> None:
    """With the allocation file damaged, `status` still says how the governor stands, and what is wrong."""
    assert call(tmp_path, "once", url=dashboard.url).code == 0
    (tmp_path / PRIMARY).write_text("{")
    said = call(tmp_path, "status")
    assert said.code == 75
    assert re.search(rf"^files +{re.escape(str(tmp_path / PRIMARY))}: ", said.out, re.MULTILINE)


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain_shows_the_arithmetic(governed: Path) -> None:
    """`explain` has an agent's score with its parts, its limits, the exposure, the plan line and each threshold.

    Where nothing is withheld, the share is the plan line, and there is no line about it.
    """
    said = start(governed, "explain", "SmartTrader")
    assert said.code == 0
    assert said.out.startswith("SmartTrader: no line before, ")
    for label in ("outcome", "score", "floor", "cap", "weight", "exposure", "plan", "threshold", "brake", "decided"):
        assert re.search(rf"^{label} ", said.out, re.MULTILINE), label
    weight, exposure, line = re.findall(r"^plan +([0-9.]+) x ([0-9.]+) = ([0-9.]+) %$", said.out, re.MULTILINE)[0]
    assert float(line) / 100 == pytest.approx(float(weight) * float(exposure), abs=1.1e-6)
    assert said.out.startswith(f"SmartTrader: no line before, {line} % after\n")
    for absent in ("since then", "withheld", "\nshare "):
        assert absent not in said.out


def test_explain_as_json_agrees_with_the_file(governed: Path) -> None:
    """`explain --json` is one document whose share is that of the allocation file."""
    found = call(governed, "explain", "SmartTrader", "--json").json
    written = json.loads((governed / PRIMARY).read_bytes())
    assert found["share_after"] == written["allocations"]["SmartTrader"]
    assert found["score"]["total"] == written["scores"]["SmartTrader"]
    assert found["weight"] == written["weights"]["SmartTrader"]
    assert found["newest_reason"] == found["reason"] == "first_allocation"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smarttrader", "did you mean SmartTrader?"),
        ("Scoutbat", "did you mean ScoutBot?"),
        ("zzz", "the agents: DropshipAgent, RangeTrader, ScoutBot, SmartTrader"),
    ],
)
def test_explain_of_an_unknown_agent(governed: Path, name: str, hint: str) -> None:
    """An agent that played no part is a usage error (2) that names the likely one, whatever the case of its letters."""
    said = call(governed, "explain", name)
    assert (said.code, said.out) == (2, "")
    assert said.err == f"capital-governor: {name!r} played no part in the last decision; {hint}\n"


def test_explain_during_a_hold(paused: Path) -> None:
    """During a hold, `explain` explains the last decision and says what has been holding since."""
    plain, document = call(paused, "explain", "ScoutBot"), call(paused, "explain", "ScoutBot", "--json").json
    assert "outcome    Reallocation triggered (first allocation)\n" in plain.out
    assert re.search(
        r"^since then Guardian paused - maintaining current allocations: the pause", plain.out, re.MULTILINE
    )
    assert (document["reason"], document["newest_reason"]) == ("first_allocation", "paused")
    assert document["newest_at"] > document["at"]


def test_explain_without_a_journal(tmp_path: Path) -> None:
    """Where nothing was ever decided, `explain` says so in one line and exits 75."""
    (tmp_path / STATUS).parent.mkdir()
    (tmp_path / STATUS).write_text("{}")
    said = call(tmp_path, "explain", "SmartTrader")
    assert (said.code, said.out) == (75, "")
    assert said.err.count("\n") == 1


def test_a_dry_run_of_the_loop_can_be_looked_at(tmp_path: Path, dashboard: Dashboard) -> None:
    """`run --dry-run` writes below runtime/dry_run only, and `status` and `explain` show it with --dry-run."""
    with governing(tmp_path, dashboard.url, "--dry-run"):
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} >= {
            "runtime/dry_run/capital_governor_allocations.json",
            "runtime/dry_run/capital_governor_status.json",
        }
        assert all("dry_run" in path.parts for path in tmp_path.rglob("*") if path.is_file())
        assert call(tmp_path, "status", "--dry-run", "--json").json["standing"] == "running"
        assert call(tmp_path, "explain", "ScoutBot", "--dry-run").code == 0
        assert call(tmp_path, "status").code == 75


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_of_a_good_setup_writes_nothing(tmp_path: Path, dashboard: Dashboard) -> None:
    """`check` says what it found, how far scores can move a share and what a cycle would do, and writes nothing."""
    before = tree(tmp_path)
    said, document = (call(tmp_path, "check", *more, url=dashboard.url) for more in ((), ("--json",)))
    assert (said.code, document.code) == (0, 0)
    assert said.out.splitlines()[-1] == "Ready"
    assert re.search(r"^payload +4 good and 0 faulty records, \d s old$", said.out, re.MULTILINE)
    found = document.json
    assert (found["ok"], found["agents"], found["status"], found["journal"]) == (True, 4, "up", "none yet")
    assert found["next"]["reason"] == "first_allocation"
    assert (found["leeway"]["lowest_weight"], found["leeway"]["highest_weight"]) == (0.05, 0.4)
    assert tree(tmp_path) == before


def test_check_of_a_frozen_fleet(tmp_path: Path) -> None:
    """Two agents with a maximum of 0.40 both stand there whatever they score: `check` warns that nothing ever moves."""
    two = {name: FLEET[name] for name in ("SmartTrader", "ScoutBot")}
    with Dashboard(fresh(two)) as server:
        said, document = (call(tmp_path, "check", *more, url=server.url) for more in ((), ("--json",)))
    room = document.json["leeway"]
    assert (room["lowest_weight"], room["highest_weight"], room["frozen"]) == (0.4, 0.4, True)
    assert room["forced_reserve"] == pytest.approx(0.2)
    assert re.search(
        r"^leeway .* both sit at the cap and 20 % stays idle, .* Raise CAPITAL_GOVERNOR_MAX_ALLOC above 0\.5$",
        said.out,
        re.MULTILINE,
    )
    assert said.code == 0


def test_check_tells_the_leeway_of_the_members_not_of_the_good_records(tmp_path: Path) -> None:
    """With one of four members faulty the next cycle still has four: `check` says of them what `once` says."""
    with Dashboard(fresh(FLEET)) as server:
        call(tmp_path, "once", url=server.url)
        server.next(*[fresh({**FLEET, "ScoutBot": {**FLEET["ScoutBot"], "sharpe_30d": None}})] * 4)
        checked, done = (call(tmp_path, *words, "--json", url=server.url).json for words in (("check",), ("once",)))
    assert (checked["agents"], len(checked["faults"])) == (3, 1)
    assert checked["leeway"]["agents"] == 4
    assert checked["leeway"] == done["leeway"]


def test_check_has_the_warnings_of_the_cycle(tmp_path: Path) -> None:
    """What the next cycle would warn of, `check` warns of, not only what is odd in the payload's own words."""
    bare = {key: value for key, value in payload().items() if key not in {"guardian", "market_regime"}}
    with Dashboard(fixed(bare)) as server:
        server.next(fixed(bare))
        found = call(tmp_path, "check", "--json", url=server.url).json["warnings"]
    assert found == [
        "neither market regime nor drawdown has ever been sent: exposure is 100 %",
        "the payload has no guardian block: taken as not paused",
    ]


def test_once_tells_the_exposure_of_the_shares_from_that_of_the_cycle(tmp_path: Path) -> None:
    """Where the cycle moves nothing, what is published keeps its own exposure, and is not said to have another."""
    with Dashboard(fresh(risk=1.0)) as server:
        first = call(tmp_path, "once", url=server.url)
        server.next(*[fresh(risk=0.97)] * 4)
        said, document = (call(tmp_path, "once", *more, url=server.url) for more in ((), ("--json",)))
    assert "generation 1, exposure 100 %, nothing reduces it" in first.out
    assert "generation 1, exposure 100 %, this cycle's 97 %, set by regime" in said.out
    assert (document.json["published_exposure"], document.json["exposure"]) == (1.0, 0.97)


def test_check_without_a_dashboard(tmp_path: Path) -> None:
    """A dashboard that is down makes `check` exit 75, and say who refused the connection."""
    before = tree(tmp_path)
    said = start(tmp_path, "check")
    assert said.code == 75
    assert said.out.splitlines()[-1] == "Not ready"
    assert "connection refused by http://127.0.0.1:1/status" in said.out
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (fixed({"error": "no metrics yet", "timestamp": "2025-11-03T22:00:00Z"}), "reports an error: no metrics yet"),
        (fixed(payload(at=1_762_207_200.0)), "stale"),
        (fixed(b"no such page", status="404 Not Found"), "often at port 8090"),
        (fixed(b"who are you", status="401 Unauthorized"), "set CAPITAL_GOVERNOR_DASHBOARD_TOKEN"),
    ],
)
def test_check_of_a_dashboard_without_usable_metrics(tmp_path: Path, answer: Callable[..., None], says: str) -> None:
    """A dashboard that is up and has nothing to decide on is not ready: `check` says why and exits 75."""
    with Dashboard(answer) as server:
        said = call(tmp_path, "check", url=server.url)
    assert said.code == 75
    assert says in said.out
    assert said.out.splitlines()[-1] == "Not ready"


def test_check_warns_of_a_token_that_others_can_read(tmp_path: Path) -> None:
    """A token that would leave this machine unencrypted is a warning of `check`, without the token."""
    token = {"CAPITAL_GOVERNOR_DASHBOARD_TOKEN": "CANARY-of-tests", "CAPITAL_GOVERNOR_FETCH_DEADLINE": "0.1"}
    warning = "CAPITAL_GOVERNOR_DASHBOARD_TOKEN goes to dash.invalid unencrypted"
    for url, warned in (
        ("http://dash.invalid:1", True),
        ("https://dash.invalid:1", False),
        ("http://localhost:1", False),
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
    ):
        said = call(tmp_path, "check", url=url, env=token)
        assert (warning in said.out) == warned, said.out
        assert "CANARY" not in said.out + said.err


def test_check_tells_of_a_hold(tmp_path: Path, dashboard: Dashboard) -> None:
    """With a STOP file everything is ready, but nothing would be decided: `check` says so."""
    (tmp_path / STOP).parent.mkdir()
    (tmp_path / STOP).touch()
    said = call(tmp_path, "check", url=dashboard.url)
    assert said.code == 0
    assert said.out.splitlines()[-3:] == [
        "next cycle STOP file present - writing nothing: the STOP file exists",
        "ends with  remove runtime/capital_governor.STOP",
        "Ready, but held",
    ]


def test_check_tells_of_a_damaged_journal(tmp_path: Path, dashboard: Dashboard) -> None:
    """A journal that cannot be read is a finding of `check`, not the end of it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "capital_governor.sqlite3").write_bytes(b"garbage" * 1_000)
    before = tree(tmp_path)
    said = call(tmp_path, "check", "--json", url=dashboard.url)
    assert said.code == 75
    assert "capital_governor.sqlite3" in said.json["journal"]
    assert said.json["payload"].startswith("4 good")
    (line,) = [line for line in call(tmp_path, "check", url=dashboard.url).out.splitlines() if line[:7] == "journal"]
    assert line.removeprefix("journal").strip() == said.json["journal"]
    assert tree(tmp_path) == before


def test_check_ends_where_no_governor_would_start(tmp_path: Path, dashboard: Dashboard) -> None:
    """With another program's database as the journal it says what `once` says, and promises no cycle."""
    (tmp_path / "state").mkdir()
    with sqlite3.connect(tmp_path / "state" / "capital_governor.sqlite3") as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    foreign.close()
    check, once = (call(tmp_path, command, url=dashboard.url) for command in ("check", "once"))
    assert (check.code, check.out, check.err) == (78, "", once.err)
    assert "the database of another program" in check.err


@pytest.mark.parametrize(
    "arguments", [("once", "--root", ""), ("run", "--root="), ("run", "--root", ""), ("status", "--root=")]
)
def test_an_empty_root_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A variable of the shell that is not set does not make the current folder the one that is governed."""
    said = subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        env=environment(NOWHERE, {"NEOLIGHT_ROOT": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,  # a `run` that takes it would go on
        check=False,
    )
    assert (said.returncode, said.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert "is empty: name one" in said.stderr


# --- show-config, help, usage -----------------------------------------------------------------------------------------


def test_show_config_masks_secrets_and_names_origins(tmp_path: Path) -> None:
    """Every setting is shown with its origin, and of a secret no part."""
    token, chat, beat = (
        "123456:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "-100200300",
        "https://hc.example/0123456789abcdef",
    )
    (tmp_path / ".env").write_text(f"TELEGRAM_BOT_TOKEN={token}\nCAPITAL_GOVERNOR_INTERVAL=60\n")
    bearer = "a-bearer-of-tests"
    env = {"TELEGRAM_CHAT_ID": chat, "CAPITAL_GOVERNOR_HEARTBEAT_URL": beat, "CAPITAL_GOVERNOR_DASHBOARD_TOKEN": bearer}
    plain, document = (call(tmp_path, "show-config", *more, env=env) for more in ((), ("--json",)))
    rows = document.json
    assert (plain.code, list(rows)) == (0, list(variables()))
    assert rows["CAPITAL_GOVERNOR_INTERVAL"] == {"value": "60", "from": ".env"}
    assert rows["CAPITAL_GOVERNOR_MIN_ALLOC"] == {"value": "0.05", "from": "default"}
    assert rows["TELEGRAM_CHAT_ID"] == {"value": chat, "from": "environment"}
    assert rows["NEOLIGHT_ROOT"] == {"value": str(tmp_path), "from": "argument"}
    for name in ("TELEGRAM_BOT_TOKEN", "CAPITAL_GOVERNOR_HEARTBEAT_URL", "CAPITAL_GOVERNOR_DASHBOARD_TOKEN"):
        assert rows[name]["value"] == "********"
    for name, row in rows.items():
        assert re.search(rf"^{name} +{re.escape(row['value'])} +{re.escape(row['from'])}$", plain.out, re.MULTILINE)
    everything = plain.out + plain.err + document.out + document.err
    assert not [
        part for part in (token, token.partition(":")[2], beat, "0123456789abcdef", bearer) if part in everything
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(tmp_path: Path, name: str) -> None:
    """`COMMAND --help` shows its usage and its options on stdout and exits 0, `run` included."""
    said = call(tmp_path, name, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"usage: capital-governor {name} [-h]")
    assert "--root" in said.out


def test_the_demo_has_help_and_no_root() -> None:
    """`demo --help` shows its options, among which no root of the real thing is."""
    done = subprocess.run(
        command("demo", "--help"), env=environment(NOWHERE), capture_output=True, text=True, check=True
    )
    assert " demo [-h]" in done.stdout.splitlines()[0]
    assert "--seconds" in done.stdout
    assert "--root" not in done.stdout


def test_the_help_fits_a_terminal(tmp_path: Path) -> None:
    """The list of commands says what each does in one whole sentence of a terminal's width."""
    done = subprocess.run(command("--help"), env=environment(NOWHERE), capture_output=True, text=True, check=True)
    assert all(re.search(rf"^  {name} .*[.?]$", done.stdout, re.MULTILINE) for name in (*COMMANDS, "demo"))
    assert "..." not in done.stdout.partition("Commands:")[2]
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_the_version(tmp_path: Path) -> None:
    """`--version` is the version, and nothing else."""
    done = subprocess.run(command("--version"), env=environment(NOWHERE), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{__version__}\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("once", "--nonsense"),
        ("run", "--nonsense"),
        ("run", "--root"),
        ("explain",),
        ("status", "x"),
        ("hold", "--for", "--"),
        ("hold", "--reason=--"),
        ("status", "--", "x"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    """A command, option or argument that is unknown or missing is a usage error: exit 2, told on stderr."""
    with tempfile.NamedTemporaryFile("r+") as out, tempfile.NamedTemporaryFile("r+") as err:
        assert ask_loaded(list(arguments), environment(NOWHERE), out.name, err.name) == 2
        said = decent(CommandResult(2, out.read(), err.read()))
    assert said.out == ""
    assert said.err.startswith("usage: capital-governor ")


LIBRARIES = re.compile(
    r"invalid|argument|unrecognized|choose from|error:|expected|convert|literal|input should|errno|KeyError|type=",
    re.IGNORECASE,
)
"""Phrases of argparse, pydantic and Python."""


def wrong_lines() -> list[list[str]]:
    """Each command with nonsense for each of its options and arguments, with too much, and with too little."""
    lines = [["nonsense"], ["--nonsense"], ["lim"], ["--root", "x", "run"]]
    for name, parser in make_parser().commands.items():
        needed = ["Ada" for action in parser._actions if not action.option_strings and action.nargs is None]
        lines += [[name, *needed, "--nonsense"], [name, *needed, "a", "b"], [name, *needed[1:], "--json=1"]]
        lines += [[name, *needed[1:]]] if needed else []
        lines += [[name, "..\x1b[2J"]] if not needed else [[name, "..\x1b[2J", *needed[1:]]]
        for action in parser._actions:
            option = next((each for each in action.option_strings if each.startswith("--")), "")
            if option in {"", "--help", "--folder", "--picture", "--reason"}:
                continue  # these take any text
            if (name, option) == ("doctor", "--root"):
                continue  # it shows what is wrong with the root among all else that it finds
            takes = action.nargs is None
            lines += [[name, *needed, option, text] for text in ("nope\x1b[2J", "", "--", "-1")] if takes else []
            lines += [[name, *needed, option]] if takes else [[name, *needed, f"{option}=nope"]]
    return lines


@pytest.mark.parametrize("arguments", wrong_lines(), ids=" ".join)
def test_nonsense_is_refused_in_our_own_words(tmp_path: Path, arguments: list[str]) -> None:
    """Exit code 2 or 78, nothing on stdout, and printable lines without a phrase of a library."""
    with tempfile.NamedTemporaryFile("r+") as out, tempfile.NamedTemporaryFile("r+") as err:
        surroundings = environment(NOWHERE, {"NEOLIGHT_ROOT": str(tmp_path)})
        code = ask_loaded(arguments, surroundings, out.name, err.name)
        said = decent(CommandResult(code, out.read(), err.read()))
    assert (code in {2, 78}, said.out) == (True, "")
    lines = [line for line in said.err.splitlines() if line.startswith("capital-governor: ")]
    assert lines
    assert all(line.isprintable() for line in said.err.splitlines())
    assert not LIBRARIES.search("\n".join(lines)), lines
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], (None, False)),
        (["run", "--dry-run"], (None, True)),
        (["run", "--root", "here"], (Path("here"), False)),
        (["run", "--root=here", "--dry-run"], (Path("here"), True)),
        (["run", "--dry-run", "--root", "one", "--root=two"], (Path("two"), True)),
        (["run", "--root=-odd"], (Path("-odd"), False)),
        (["run", "--root", "with space"], (Path("with space"), False)),
    ],
)
def test_options_in_any_order(arguments: list[str], expected: tuple[Path | None, bool]) -> None:
    """Options come in any order, each in one word or two; of one that comes twice the last counts."""
    given = make_parser().parse_args(arguments)
    assert (given.root, given.dry_run) == expected


@pytest.mark.parametrize("words", ["run --dry", "run --dry-run=1", "run here", "run -- here", "--root here run"])
def test_no_option_is_guessed(capsys: pytest.CaptureFixture[str], words: str) -> None:
    """A shortened option, a value for one that takes none, and a word too many are usage errors, not guesses."""
    with pytest.raises(SystemExit) as ended:
        execute(words.split())
    assert ended.value.code == 2
    assert "capital-governor: " in capsys.readouterr().err


def test_an_option_takes_the_next_word_whatever_it_is(tmp_path: Path) -> None:
    """A value may begin with a dash; every option that takes a value is known to take one."""
    (tmp_path / STATUS).parent.mkdir()
    (tmp_path / STATUS).write_text("{}")
    given = call(tmp_path, "hold", "--reason", "-5 % is enough", "--for", "1h", "--")
    assert (given.code, "-5 % is enough" in given.out) == (0, True)
    assert call(tmp_path, "hold", "--reason", "-x").code == 0
    valued = {
        option
        for command in make_parser().commands.values()
        for action in command._actions
        for option in action.option_strings
        if action.nargs is None
    }
    assert valued == _VALUED


# --- the way out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("status", "--json"), ("show-config",), ("--help",)])
def test_a_reader_that_leaves_changes_nothing(governed: Path, arguments: tuple[str, ...]) -> None:
    """When the reader of a pipe has gone before the first byte, there is no complaint, and the exit code stays."""
    where = () if arguments == ("--help",) else ("--root", governed)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command(*arguments, *where), env=environment(NOWHERE), stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert done.stderr == b""
    if where:
        assert done.returncode == (75 if arguments[0] == "status" else 0)


def test_head_gets_the_first_line_of_a_large_fleet(tmp_path: Path) -> None:
    """`once --dry-run | head -1` with 1,300 agents prints one line, logs its start and complains of nothing."""
    many = {f"Agent{number:04}": FLEET["SmartTrader"] for number in range(1_300)}
    with Dashboard(fresh(many)) as server:
        line = " ".join(command("once", "--dry-run", "--root", tmp_path))
        done = subprocess.run(
            ["/bin/bash", "-c", f"set -o pipefail; {line} | head -1"],
            env=environment(server.url),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "Reallocation triggered (first allocation)\n")
    (logged,) = done.stderr.splitlines()
    assert logged.endswith("INFO    [capital_governor] Start: nothing is published yet")


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_stdout_that_takes_nothing(governed: Path, redirection: str) -> None:
    """A closed stdout is nobody's fault; a full one is said in one line and exits 75."""
    line = " ".join(command("show-config", "--root", governed))
    done = subprocess.run(
        ["/bin/bash", "-c", f"{line} {redirection}"],
        env=environment(NOWHERE),
        capture_output=True,
        text=True,
        check=False,
    )
    full = "capital-governor: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == ((0, "") if redirection == ">&-" else (75, full))


def test_a_pipe_gets_plain_text(governed: Path, dashboard: Dashboard) -> None:
    """What goes into a pipe has no escape code, even where the environment would like colours, nor trailing blanks."""
    for arguments in (("once", "--dry-run"), ("status",), ("explain", "ScoutBot"), ("check",), ("show-config",)):
        said = call(governed, *arguments, url=dashboard.url, env={"FORCE_COLOR": "1", "COLUMNS": "40"})
        assert "\x1b" not in said.out
        assert said.out
        assert all(line == line.rstrip() for line in said.out.splitlines())


def test_a_terminal_gets_colours_unless_told_not_to(governed: Path) -> None:
    """On a terminal the standing is coloured; with NO_COLOR set there is not one escape code."""
    assert "\x1b[" in on_terminal(governed, "status")
    assert "\x1b" not in on_terminal(governed, "status", env={"NO_COLOR": "1"})


@pytest.mark.parametrize("columns", [80, 45])
def test_everything_fits_the_terminal(paused: Path, dashboard: Dashboard, columns: int) -> None:
    """No line is wider than the terminal, and no word of a table is cut, at 80 columns and on a phone."""
    for arguments in (("once", "--dry-run"), ("status",), ("explain", "DropshipAgent"), ("check",)):
        shown = ESCAPE.sub("", on_terminal(paused, *arguments, columns=columns, url=dashboard.url))
        # The path of a root made for a test is one long word.
        widest = max(len(line) for line in shown.splitlines() if str(paused)[:20] not in line)
        assert widest <= columns, arguments
        assert "\N{HORIZONTAL ELLIPSIS}" not in shown
        if arguments[0] != "check":
            assert "DropshipAgent" in shown


def test_settings_fit_the_terminal(governed: Path) -> None:
    """No name of a setting is cut on a terminal of 80 columns: a long value goes on below."""
    shown = ESCAPE.sub("", on_terminal(governed, "show-config"))
    assert max(map(len, shown.splitlines())) <= 80
    assert {line.split()[0] for line in shown.splitlines() if line.strip()} >= set(variables())


def test_long_names_are_whole(tmp_path: Path) -> None:
    """A name of 64 characters is whole in a pipe, and on a terminal goes on below instead of being cut."""
    name = "A" * 40 + "b" * 24
    with Dashboard(fresh({**FLEET, name: record()})) as server:
        assert name in call(tmp_path, "once", url=server.url).out
        shown = ESCAPE.sub("", on_terminal(tmp_path, "status"))
        assert name in call(tmp_path, "status").out
        assert name in call(tmp_path, "explain", name).out
    assert max(map(len, shown.splitlines())) <= 80
    column = "".join(line.split()[0] for line in shown.splitlines() if re.match("[Ab]+( |$)", line))
    assert column == name


def test_a_large_fleet(tmp_path: Path) -> None:
    """Of 300 agents a pipe gets all; a terminal gets the 40 largest shares, and is told how to see the others."""
    many = {f"Agent{number:03}": record(winrate=number / 300) for number in range(300)}
    with Dashboard(fresh(many)) as server:
        piped = call(tmp_path, "once", url=server.url, env={"CAPITAL_GOVERNOR_MIN_ALLOC": "0"})
        shown = ESCAPE.sub("", on_terminal(tmp_path, "status"))
    assert set(re.findall(r"^Agent\d{3}", piped.out, re.MULTILINE)) == set(many)
    assert re.findall(r"^Agent\d{3}", shown, re.MULTILINE) == [f"Agent{number}" for number in range(299, 259, -1)]
    assert "... and 260 more agents: --json or a pipe lists all" in shown


def test_brackets_in_texts_are_not_markup(paused: Path, dashboard: Dashboard) -> None:
    """A reason with brackets and colons is shown as it came, in every command, on pipe and terminal."""
    reason = "[bold red]Überlast[/] [x] :warning:"
    for arguments in (("once", "--dry-run"), ("status",), ("explain", "ScoutBot"), ("check",)):
        assert reason in call(paused, *arguments, url=dashboard.url).out, arguments
    assert reason in on_terminal(paused, "status", columns=200)


def test_a_stdout_of_few_letters(paused: Path) -> None:
    """Letters that stdout cannot say are written as escapes, and rules are typed instead of drawn."""
    said = call(paused, "status", env={"PYTHONIOENCODING": "ascii"})
    assert said.code == 75
    assert r"\xdcberlast" in said.out
    assert said.out.isascii()


# --- locks and signals ------------------------------------------------------------------------------------------------


def test_a_second_governor_is_refused(tmp_path: Path, dashboard: Dashboard) -> None:
    """While one governs, `once` and `run` on the same root exit 75 with one line and change nothing."""
    with governing(tmp_path, dashboard.url):
        before = tree(tmp_path)
        for name in ("once", "run"):
            said = start(tmp_path, name, url=dashboard.url)
            assert (said.code, said.out) == (75, "")
            line = f"capital-governor: another governor runs on this root: it holds {tmp_path / LOCK}; stop it first"
            assert said.err == f"{line}, or use `once --dry-run`, which works beside it\n"
        assert start(tmp_path, "once", "--dry-run", url=dashboard.url).code == 0
        assert tree(tmp_path) == before


def test_commands_after_a_kill(tmp_path: Path, dashboard: Dashboard) -> None:
    """What a killed governor leaves behind can be looked at, without writing, before anyone starts the next one."""
    with governing(tmp_path, dashboard.url) as daemon:
        daemon.kill()
    before = tree(tmp_path)
    explained, announced = call(tmp_path, "explain", "ScoutBot"), call(tmp_path, "once", "--dry-run", url=dashboard.url)
    assert (explained.code, announced.code) == (0, 0), explained.err + announced.err
    assert "No reallocation needed" in announced.out
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["once", "check"])
def test_ctrl_c_ends_a_command_that_waits(tmp_path: Path, name: str) -> None:
    """Ctrl-C ends a command that a dashboard without an answer keeps waiting, without a traceback."""
    with Dashboard(hang) as server:
        patient = environment(server.url) | {"CAPITAL_GOVERNOR_FETCH_DEADLINE": "300"}
        process = subprocess.Popen(command(name, "--root", tmp_path), env=patient, stderr=subprocess.PIPE, text=True)
        server.wait_for(1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert server.gave_up == 0
    assert process.returncode not in {0, 75}
    assert "Traceback" not in said
