"""`doctor`: what commonly goes wrong is found, each with its remedy, and nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from email.utils import formatdate
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from capital_governor import __version__
from capital_governor.cli.doctor.machine import _AT_LEAST, missing
from capital_governor.supervisor.root import typed_script
from tests.faults.surroundings import with_own_mounts
from tests.rigs.bot_api import CHAT, BotApi, Exchange, refuse
from tests.rigs.commands import call, command, environment, loaded, on_terminal, run_to_end, tree
from tests.rigs.daemon import Daemon, configure, governing
from tests.rigs.dashboard import FLEET, Dashboard, fixed, fresh, payload
from tests.rigs.ordered_root import Place
from tests.rigs.patience import wait_until
from tests.rigs.raw_server import Connection, Server, http
from tests.rigs.script_machine import REPOSITORY
from tests.rigs.supervised import Site

Found = list[dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with loaded():
        yield


def doctor(place: Place, **own: str) -> tuple[int, Found]:
    """Its exit code and its findings; whatever it finds, it changes nothing."""
    before = tree(place.root)
    said = place.call("doctor", "--json", **own)
    assert said.err == ""
    assert tree(place.root) == before
    document = said.json
    assert document["exit_code"] == said.code
    assert document["ok"] == (said.code == 0)
    findings: Found = document["findings"]
    for each in findings:
        assert (each["remedy"] is None) == (each["health"] == "ok"), each
    assert (said.code == 0) == all(each["health"] != "wrong" for each in findings)
    return said.code, findings


def of(findings: Found, subject: str) -> list[tuple[str, str, str | None]]:
    return [(each["health"], each["text"], each["remedy"]) for each in findings if each["subject"] == subject]


def dated(script_time: Callable[[], float], document: Callable[[], object]) -> Server:
    """A dashboard with a Date header, whose metrics are made anew for each question."""

    def script(connection: Connection) -> None:
        connection.read_head()
        date = f"Date: {formatdate(script_time(), usegmt=True)}"
        connection.send(http(json.dumps(document()).encode(), date))

    return Server(script)


def test_a_governor_that_governs_is_well(place: Place, governor: Daemon) -> None:
    """Each line begins with ok, the last one says it, and the exit code is 0."""
    assert governor.process.poll() is None
    said = place.call("doctor")
    assert (said.code, said.err) == (0, "")
    *lines, last = said.out.splitlines()
    assert last == "All is well"
    assert [line for line in lines if not line.startswith("ok      ")] == []
    subjects = [line[8:18].strip() for line in lines]
    assert subjects == [
        *("python", "packages", "root", "rights", "disk", "state", "files", "override", "journal"),
        *("dashboard", "metrics", "next cycle", "clock", "limits", "telegram", "governor"),
    ]


def test_a_remedy_stands_below_what_is_wrong(place: Place) -> None:
    """One line for each finding; on a terminal a long one is wrapped below its own beginning."""
    place.dashboard.next(fixed({"error": "cache failed"}, "Content-Type: application/json", status="503 Down"))
    lines = place.call("doctor").out.splitlines()
    position = next(number for number, line in enumerate(lines) if line.startswith("wrong   dashboard  "))
    assert lines[position] == f"wrong   dashboard  HTTP 503 from {place.dashboard.url}/meta/metrics: cache failed"
    assert lines[position + 1].startswith("        -> ")
    assert lines[-1] == "1 wrong, 1 to look at"
    shown = on_terminal(place.root, "doctor", url=place.dashboard.url, env={"NO_COLOR": "1"})
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("url", "remedy"),
    [("http://127.0.0.1:1", "start the dashboard, or set NEOLIGHT_DASHBOARD_URL to where it is"), ("", "see the")],
)
def test_a_dashboard_that_cannot_be_reached(place: Place, url: str, remedy: str) -> None:
    """It may come back: exit code 75, with the hint that a fetch has; the clock cannot be compared then."""
    place.dashboard.next(fixed(b"", status="500 No"))
    code, findings = doctor(place, **({"NEOLIGHT_DASHBOARD_URL": url} if url else {}))
    ((health, _, how),) = of(findings, "dashboard")
    assert (code, health) == (75, "wrong")
    assert how is not None
    assert how.startswith(remedy)
    assert of(findings, "metrics") == []
    assert not url or of(findings, "clock") == []


def test_stale_metrics(place: Place) -> None:
    """The dashboard is up, its metrics are old."""
    place.dashboard.next(fresh(at=time.time() - 5_000))
    code, findings = doctor(place)
    ((health, text, how),) = of(findings, "metrics")
    assert (code, health) == (75, "wrong")
    assert text.startswith("the dashboard's metrics are stale: 4 good and 0 faulty records, 50")
    assert how == "the dashboard answers: restart what produces its metrics"
    assert [health for health, *_ in of(findings, "dashboard")] == ["ok"]


@pytest.mark.parametrize(
    ("ahead", "health", "code"), [(0.0, "ok", 0), (20.0, "warning", 0), (600.0, "wrong", 75), (-600.0, "wrong", 75)]
)
def test_the_clocks_of_machine_and_dashboard(place: Place, ahead: float, health: str, code: int) -> None:
    """The Date of the dashboard's answer against this machine's time, its metrics being dated by its own clock."""
    now = time.time
    with dated(lambda: now() + ahead, lambda: payload(at=now() + min(ahead, 0.0))) as dashboard:
        ended, findings = doctor(place, NEOLIGHT_DASHBOARD_URL=dashboard.url)
    ((found, text, how),) = of(findings, "clock")
    assert (found, ended) == (health, code)
    if ahead:
        side = "ahead of" if ahead > 0 else "behind"
        assert f"s {side} this machine's" in text
        assert how is not None
        assert "NTP" in how
        seconds = int(text.split(" is ")[1].split(" s ")[0])
        assert abs(ahead) - 2 <= seconds <= abs(ahead)


@pytest.mark.parametrize("header", ["X-None: 1", "Date: yesterday", "Date: Fri, 31 Feb 2025 10:00:00 GMT"])
def test_a_dashboard_that_does_not_send_its_time(place: Place, header: str) -> None:
    """Without a Date that can be read, only the metrics show whether its clock is ahead."""

    def sent(ahead: float, connection: Connection) -> None:
        connection.read_head()
        connection.send(http(json.dumps(payload(at=time.time() + ahead)).encode(), header))

    for ahead, health in ((0.0, "ok"), (600.0, "wrong")):
        with Server(partial(sent, ahead)) as server:
            _, findings = doctor(place, NEOLIGHT_DASHBOARD_URL=server.url)
        ((found, _, how),) = of(findings, "clock")
        assert found == health
        assert health == "ok" or "NTP" in str(how)


def test_metrics_from_the_future_with_clocks_that_agree(place: Place) -> None:
    """Local time that is sent as UTC: the clock is right, the time stamp is not."""
    with dated(time.time, lambda: payload(at=time.time() + 3_600)) as dashboard:
        code, findings = doctor(place, NEOLIGHT_DASHBOARD_URL=dashboard.url)
    ((health, text, how),) = of(findings, "clock")
    assert (code, health) == (75, "wrong")
    assert text.startswith("both clocks agree, and the metrics' time stamp is 3")
    assert how == "let the dashboard send its time with its zone (Z or an offset)"


def test_another_writer_of_the_override(place: Place, governor: Daemon) -> None:
    """The program is named; with OVERRIDE=off the file is nobody's business."""
    override = place.root / "runtime/allocations_override.json"
    governor.end()
    override.write_text(json.dumps({"allocations": {"SmartTrader": 1.0}, "source": "rogue_bridge"}))
    code, findings = doctor(place)
    ((health, text, how),) = of(findings, "override")
    assert (code, health) == (78, "wrong")
    assert "another program (rogue_bridge) has written" in text
    assert how == "stop that program, or choose with CAPITAL_GOVERNOR_OVERRIDE what is to happen"
    assert of(doctor(place, CAPITAL_GOVERNOR_OVERRIDE="off")[1], "override") == []


def test_a_writer_that_was_overruled_is_known_from_the_journal(root: Path, dashboard: Dashboard) -> None:
    """Its content is gone again, and the message about it is in the journal."""
    with BotApi() as api:
        configure(root, api)
        place, override = Place(root, dashboard), root / "runtime/allocations_override.json"
        with Daemon(root, dashboard.url, interval=0.3) as daemon:
            daemon.says("Allocations saved")
            ours = override.read_text()
            override.write_text('{"source": "rogue_bridge"}')
            daemon.says("Another writer")
            wait_until(lambda: any("rogue_bridge" in text for text in api.taken))
            wait_until(lambda: override.read_text() == ours)
            api.next(known)
            found = json.loads(place.call("doctor", "--json").out)["findings"]
    ((health, text, _),) = of(found, "override")
    assert health == "wrong"
    assert text.endswith("and the governor writes it again")


def test_a_journal_of_a_newer_version(place: Place, governor: Daemon) -> None:
    """No governor can start with it, so a person must act; all else is looked at all the same."""
    governor.end()
    with closing(sqlite3.connect(place.journal)) as journal:
        journal.execute("PRAGMA user_version = 99")
    code, findings = doctor(place)
    ((health, text, how),) = of(findings, "journal")
    assert (code, health) == (78, "wrong")
    assert "has schema 99" in text
    assert how == "run the newer version again, or name another file as the journal"
    assert [health for health, *_ in of(findings, "dashboard")] == ["ok"]


def test_a_damaged_journal(place: Place) -> None:
    """What is no database."""
    place.journal.parent.mkdir()
    place.journal.write_bytes(b"no database" * 1_000)
    code, findings = doctor(place)
    ((health, text, _),) = of(findings, "journal")
    assert (code, health) == (75, "wrong")
    assert str(place.journal) in text


def test_files_that_cannot_be_understood(place: Place, governor: Daemon) -> None:
    """A torn status file, and a primary file of another program: warnings, since the next cycle writes both."""
    governor.end()
    status, primary = (place.root / "runtime" / f"capital_governor_{name}.json" for name in ("status", "allocations"))
    status.write_text("{")
    primary.write_text('{"source": "rl_inference"}')
    code, findings = doctor(place)
    assert code == 0
    assert [health for health, *_ in of(findings, "state")] == ["warning"]
    ((health, text, _),) = of(findings, "files")
    assert (health, text) == ("warning", f"{primary}: source is not capital_governor")
    status.unlink()
    status.mkdir()
    code, findings = doctor(place)
    ((health, text, how),) = of(findings, "state")
    assert (code, health, how) == (75, "wrong", "move it away")


def known(exchange: Exchange) -> None:
    """Answer getMe and getChat; whoever sends is refused."""
    chat = {"id": int(CHAT), "type": "supergroup", "title": "Night <shift>", "accent_color_id": 1}
    chat |= {"max_reaction_count": 11, "accepted_gift_types": dict.fromkeys(GIFTS, False)}
    answers = {
        "getMe": {"id": 123456789, "is_bot": True, "first_name": "Governor", "username": "our_governor_bot"},
        "getChat": chat,
    }
    exchange.answer({"ok": True, "result": answers[exchange.path.rpartition("/")[2]]})


GIFTS = ("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription", "gifts_from_channels")


def test_bot_and_chat_are_asked_for_and_nothing_is_sent(place: Place) -> None:
    """Their names are shown."""
    with BotApi(known) as api:
        code, findings = doctor(place, **api.environment)
        assert [path.rpartition("/")[2] for path in api.asked] == ["getMe", "getChat"]
        assert api.chats == ["", CHAT]
    assert (code, of(findings, "telegram")) == (
        0,
        [("ok", "bot @our_governor_bot, supergroup Night <shift>", None)],
    )


def test_a_wrong_token_and_a_wrong_chat(place: Place) -> None:
    """Either needs a person; a Bot API that is down does not."""

    def no_chat(exchange: Exchange) -> None:
        if exchange.path.endswith("getMe"):
            known(exchange)
        else:
            refuse(400, "Bad Request: chat not found")(exchange)

    with BotApi(refuse(401)) as api:
        code, findings = doctor(place, **api.environment)
        remedy = "check TELEGRAM_BOT_TOKEN (and TELEGRAM_API_BASE_URL, if set)"
        assert (code, of(findings, "telegram")) == (78, [("wrong", "no such bot", remedy)])
        api.next(no_chat)
        code, findings = doctor(place, **api.environment)
        ((health, text, how),) = of(findings, "telegram")
        assert (code, health, text) == (78, "wrong", "Chat not found")
        assert how == "check TELEGRAM_CHAT_ID and that the bot may write there"
        api.next(refuse(502))
        code, findings = doctor(place, **api.environment)
        ((health, text, how),) = of(findings, "telegram")
        assert (code, health) == (75, "wrong")
        assert how == f"see whether this machine reaches {api.base_url}; messages wait until then"


def test_limits_that_freeze_the_fleet(place: Place) -> None:
    """Two agents at a cap of 0.4: scores cannot move anything, and the remedy names the setting."""
    place.dashboard.next(fresh({name: FLEET[name] for name in list(FLEET)[:2]}))
    code, findings = doctor(place)
    ((health, text, how),) = of(findings, "limits")
    assert (code, health) == (0, "warning")
    assert text == "With 2 agents and a 40 % cap both sit at the cap and 20 % stays idle, whatever they score"
    assert how == "Raise CAPITAL_GOVERNOR_MAX_ALLOC above 0.5"


def test_faulty_records_are_named(place: Place) -> None:
    """Five of them; the others are counted."""
    agents = {f"Agent{number}": {"pnl_7d": "x"} for number in range(7)} | {**FLEET, "More": FLEET["ScoutBot"]}
    agents |= {f"Good{number}": FLEET["ScoutBot"] for number in range(9)}
    place.dashboard.next(fresh(agents))
    _, findings = doctor(place)
    told = [text for health, text, _ in of(findings, "metrics") if health == "warning"]
    assert [text.partition(":")[0] for text in told] == [
        *(f"faulty record of Agent{number}" for number in range(5)),
        "2 more faulty records",
    ]


def test_a_disk_that_is_nearly_full(place: Place) -> None:
    """On a disk of 40 MiB for the root nothing can grow; on one of 400 MiB a warning is due."""
    alone = with_own_mounts()
    for size, health, code in (("40m", "wrong", 75), ("400m", "warning", 0)):
        words = ["/bin/sh", "-c", 'mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"', size, str(place.root)]
        doctored = command("doctor", "--root", place.root, "--json")
        said = run_to_end([*alone, *words, *doctored], environment(place.dashboard.url))
        ((found, text, _), *_) = of(said.json["findings"], "disk")
        assert (found, said.code) == (health, code), said
        assert text == f"{size[:-1]} MiB free where the root is"


def test_a_file_system_without_inodes(place: Place) -> None:
    """There is space, and no file can be made."""
    mount = 'mount -t tmpfs -o size=2g,nr_inodes=1 none "$0" && exec "$@"'
    words = [*with_own_mounts(), "/bin/sh", "-c", mount, str(place.root), *command("doctor", "--root", place.root)]
    said = run_to_end(words, environment(place.dashboard.url))
    assert "wrong   disk       no file can be made any more where the root is: all inodes are in use" in said.out
    assert said.code == 75


@pytest.fixture
def open_place(dashboard: Dashboard) -> Iterator[Place]:
    """A root that every user of this machine can reach."""
    folder = Path(tempfile.mkdtemp())
    (folder / "root").mkdir()
    for path in (folder, folder / "root"):
        path.chmod(0o755)
    yield Place(folder / "root", dashboard)
    shutil.rmtree(folder)


def test_who_else_can_read_secrets_or_write_shares(open_place: Place) -> None:
    """A .env with a secret that everybody can read, and a folder that everybody can write, are wrong."""
    root = open_place.root
    _, findings = doctor(open_place)
    look = f"every user of this machine can look into {root}: shares, scores and logs"
    assert [(health, text) for health, text, _ in of(findings, "rights")] == [("warning", look)]
    env = root / ".env"
    env.write_text("CAPITAL_GOVERNOR_THRESHOLD=0.2\n")
    env.chmod(0o644)
    assert doctor(open_place)[0] == 0
    env.write_text("CAPITAL_GOVERNOR_DASHBOARD_TOKEN=secret-of-ours\n")
    code, findings = doctor(open_place)
    assert code == 78
    assert of(findings, "rights")[0] == (
        "wrong",
        f"every user of this machine can read {env}, which has CAPITAL_GOVERNOR_DASHBOARD_TOKEN",
        f"chmod 600 {env}, and replace what others may have read",
    )
    env.chmod(0o600)
    root.chmod(0o711)
    assert doctor(open_place)[0] == 0
    (root / "runtime").mkdir()
    (root / "runtime").chmod(0o777)
    code, findings = doctor(open_place)
    text = f"every user of this machine can write {root}/runtime, and so move capital"
    assert (code, of(findings, "rights")) == (78, [("wrong", text, f"chmod o-w {root}/runtime")])
    root.parent.chmod(0o700)  # nobody else gets there
    assert of(doctor(open_place)[1], "rights")[0][0] == "ok"


def test_wrong_settings(place: Place) -> None:
    """Each has a line; files and processes are looked at all the same, what depends on the settings is not."""
    own = {"CAPITAL_GOVERNOR_THRESHOLD": "nope", "CAPITAL_GOVERNOR_MAX_ALOC": "0.4"}
    code, findings = doctor(place, **own)
    assert code == 78
    assert [(health, text) for health, text, _ in of(findings, "settings")] == [
        ("wrong", "CAPITAL_GOVERNOR_MAX_ALOC (environment) is not a setting"),
        ("wrong", "CAPITAL_GOVERNOR_THRESHOLD=nope (environment) is not a plain decimal number"),
        ("warning", "dashboard, journal and Telegram were not looked at, since they depend on the settings"),
    ]
    assert of(findings, "settings")[0][2] == "did you mean CAPITAL_GOVERNOR_MAX_ALLOC?"
    assert {"disk", "rights", "state", "governor"} <= {each["subject"] for each in findings}
    said = call(place.root / "missing", "doctor")
    assert said.code == 78
    assert said.out.splitlines()[-2].startswith("        -> correct the settings")


def test_settings_that_are_not_in_force(root: Path, dashboard: Dashboard) -> None:
    """A running governor has not read what has changed in .env since."""
    configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.3")
    with governing(root, dashboard.url):
        wait_until((root / "runtime/capital_governor_settings.json").exists)
        configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.2")
        said = Place(root, dashboard).call("doctor", "--json")
    ((health, text, how),) = of(said.json["findings"], "settings")
    assert (said.code, health) == (0, "warning")
    assert text == "CAPITAL_GOVERNOR_THRESHOLD: 0.3 in force, 0.2 in .env"
    assert how == f"`capital-governor reload --root {root}`"


def test_a_governor_that_is_gone(place: Place, governor: Daemon) -> None:
    """One that was killed is wrong, one that was ended is only worth a look."""
    governor.kill()
    code, findings = doctor(place)
    ((health, text, how),) = of(findings, "governor")
    assert (code, health) == (75, "wrong")
    assert text.startswith("CRASHED OR KILLED")
    assert how is not None
    assert how.endswith(f"start it again: `capital-governor run --root {place.root}`")
    with Daemon(place.root, place.dashboard.url, interval=3_600) as again:
        again.says("No reallocation needed")
        again.end()
    code, findings = doctor(place)
    assert (code, [health for health, *_ in of(findings, "governor")]) == (0, ["warning"])


def test_another_version_runs(place: Place, governor: Daemon) -> None:
    """The status file of a governor that runs names its version."""
    os.kill(governor.process.pid, signal.SIGSTOP)  # it writes no more
    status = place.root / "runtime/capital_governor_status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"version": "0.1.9"}))
    ((_, text, how), *_) = [found for found in of(doctor(place)[1], "governor") if found[1].startswith("the running")]
    assert text == f"the running governor is version 0.1.9, and this is {__version__}"
    assert how == "restart it"


def test_a_hold_is_named(place: Place, governor: Daemon) -> None:
    """A STOP file is nothing wrong, but worth a look."""
    assert governor.process.poll() is None
    (place.root / "runtime/capital_governor.STOP").touch()
    said = place.call("doctor", "--json")
    ((health, _, how),) = of(said.json["findings"], "next cycle")
    assert (said.code, health) == (0, "warning")
    assert how == "remove runtime/capital_governor.STOP when capital may move again"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="supervising needs Linux")
def test_the_supervisor(tmp_path: Path, dashboard: Dashboard) -> None:
    """It runs, gave up an agent, was killed, was stopped; a root that never had one has no such line."""
    site = Site(tmp_path)
    place = Place(site.root, dashboard)
    assert of(doctor(place)[1], "supervisor") == []
    site.agents('ensure_running gives_up "exit 78" logs/gives_up.log')
    try:
        assert site.run("start").code == 0
        wait_until(lambda: "GAVE UP" in site.run("status").out)
        said = place.call("doctor", "--json")
        (_, (health, text, how)) = of(said.json["findings"], "supervisor")
        assert (said.code, health) == (78, "wrong")
        assert text.startswith("gives_up GAVE UP (")
        script = typed_script(REPOSITORY / "neo_light_fix.sh", site.root, Path.cwd())
        assert how == f"see `{script} logs gives_up`; then `{script} restart gives_up`"
        state = site.root / "runtime/neo_light_fix.state"
        os.kill(int(state.read_text().split("\t")[1]), signal.SIGKILL)
        wait_until(lambda: site.processes() == {})
        code, findings = doctor(place)
        ((health, text, how),) = of(findings, "supervisor")
        assert (code, health, how) == (75, "wrong", f"`{script} start`")
        assert text == "not running: CRASHED (killed, often out of memory, or the machine went down)"
        site.agents()
        assert site.run("start").code == 0
        assert site.run("stop").code == 0
        code, findings = doctor(place)
        ((health, text, _),) = of(findings, "supervisor")
        assert (code, health) == (0, "warning")
        assert text.startswith("not running: stopped normally at ")
    finally:
        site.clear()


def test_packages_are_compared_with_what_is_needed() -> None:
    """Every requirement of the project can be read, and one that is not met is named."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        assert _AT_LEAST.fullmatch(requirement), requirement
        assert missing(requirement) == ""
    there = metadata.version("rich")
    assert missing(f"rich>={there}") == ""
    assert missing("rich>=9999.1") == f"rich {there} is older than 9999.1"
    assert missing("no-such-package>=1.0") == "no-such-package is not installed"
    assert missing("no-such-package>=1.0; extra == 'test'") == ""
