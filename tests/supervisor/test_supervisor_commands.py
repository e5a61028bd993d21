"""start, stop, restart, status and logs of neo_light_fix.sh, and the operator's .agents.sh."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import signal
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from capital_governor.settings.load import load
from capital_governor.supervisor.root import typed_script
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.supervised import Site

UP = "ensure_running up 'echo up; exec sleep 900'"


def lines_of(path: Path, count: int) -> str:
    """Return a file's text as soon as it has so many lines."""
    wait_until(lambda: path.exists() and path.read_text().count("\n") == count)
    return path.read_text()


def stopped_at(shown: str) -> str:
    """Return what status shows of a supervisor that was stopped, with its time."""
    found = re.search(r"^supervisor +(stopped normally at \d{4}-\d\d-\d\d [0-9:]{8} UTC)$", shown, flags=re.MULTILINE)
    assert found
    return found[1]


def test_a_life_in_the_background(site: Site) -> None:
    """`start` returns with everything up and says where to look, `status` shows each, `stop` leaves nothing."""
    site.agents(UP, "ensure_running off 'exit 4' logs/elsewhere.log")
    site.settings |= {"NEO_LIGHT_BACKOFF_SECONDS": "50", "NEO_LIGHT_BACKOFF_MAX_SECONDS": "60"}
    started = site.run("start")
    assert (started.code, started.out) == (0, "")
    assert str(site.root / "logs/neo_light_fix.log") in started.err
    pid = site.pid("up")
    wait_until(lambda: "off ended" in site.log("neo_light_fix"))
    site.pid("capital_governor")
    wait_until(lambda: f"\t{pid}\t" in (site.root / "runtime/neo_light_fix.state").read_text())
    shown = site.run("status")
    assert shown.code == 0
    supervisor = re.findall(r"^supervisor +running, pid (\d+), since \d{4}-", shown.out, flags=re.MULTILINE)
    assert [int(number) for number in supervisor] == site.supervisors()
    assert re.search(rf"^up +running, pid {pid}, since \d{{4}}-", shown.out, flags=re.MULTILINE)
    wait = re.findall(r"^off +CRASHED \(exit 4: an error\); restarting in (\d+) s$", shown.out, flags=re.MULTILINE)
    assert 30 <= int(wait[0]) <= 50
    assert shown.out.endswith("the governor's own report\n")
    stopped = site.run("stop")
    assert (stopped.code, stopped.out, stopped.err) == (0, "", "neo_light_fix.sh: stopped\n")
    assert site.processes() == {}


def test_status_is_in_utc(site: Site) -> None:
    """Its times are those of all logs, wherever the machine stands."""
    site.settings |= {"TZ": "XXX-14"}
    site.run("start")
    shown = site.run("status").out
    site.run("stop")
    times = re.findall(r" since (\S+ \S+) UTC$", shown, flags=re.MULTILINE)
    assert len(times) == 2
    for each in times:
        ago = datetime.now(UTC) - datetime.fromisoformat(f"{each}+00:00")
        assert timedelta(seconds=-1) <= ago < timedelta(minutes=5)


def test_status_of_a_site_at_rest(site: Site) -> None:
    """Without a supervisor the exit code is 3, and what would be kept running is shown as stopped."""
    site.agents(UP)
    for life in ("never started", "stopped"):
        shown = site.run("status")
        assert (shown.code, life) == (3, life)
        assert "unexpectedly" not in shown.err
        assert re.findall(r"^(\w+) +(.*)$", shown.out, flags=re.MULTILINE)[:3] == [
            ("supervisor", "not running") if life == "never started" else ("supervisor", stopped_at(shown.out)),
            ("capital_governor", "stopped"),
            ("up", "stopped"),
        ]
        if life == "never started":
            assert list(site.root.iterdir()) == []
            site.run("start")
            site.run("stop")


def test_stop_without_a_supervisor_is_no_failure(site: Site) -> None:
    """There is nothing to stop, which is said."""
    stopped = site.run("stop")
    assert (stopped.code, stopped.err) == (0, f"neo_light_fix.sh: no supervisor runs on {site.root}\n")


def test_start_of_a_running_supervisor_is_no_failure(site: Site) -> None:
    """It is said, with the pid, and nothing is started or ended; a faulty .agents.sh does not matter then."""
    site.agents(UP)
    site.run("start")
    pid, before = site.pid("up"), site.supervisors()
    site.agents("ensure_running (")
    again = site.run("start")
    assert (again.code, again.out, again.err.count("\n")) == (0, "", 1)
    assert f"a supervisor runs on {site.root} already, pid {before[0]}:" in again.err
    assert (site.supervisors(), site.running("sleep 900")) == (before, [pid])
    site.agents(UP)
    site.run("stop")


def test_status_of_a_killed_supervisor(site: Site) -> None:
    """It does not pass for one that was stopped."""
    site.run("start")
    os.kill(site.supervisors()[0], signal.SIGKILL)
    wait_until(lambda: not site.processes())
    shown = site.run("status")
    assert shown.code == 3
    assert re.search(r"^supervisor +CRASHED \(killed, often out of memory, ", shown.out, flags=re.MULTILINE)


def test_status_is_a_watchdog(site: Site) -> None:
    """Its exit code is 78 if any agent gave up, else that of the governor's own report, which is 75 without a cycle."""
    site.agents("ensure_running a 'exit 78'", UP)
    site.run("start")
    wait_until(lambda: "a gave up" in site.log("neo_light_fix"))
    shown = site.run("status")
    assert shown.code == 78
    assert re.search(
        r"^a +GAVE UP \(exit 78: a person must act\) at .* see `(.*) logs a`$", shown.out, flags=re.MULTILINE
    )
    site.agents(UP)
    site.run("restart")
    assert site.run("status").code == 0
    (site.home / "governor").rename(site.home / "no governor")
    assert site.run("status").code == 75
    site.run("stop")


def test_stop_never_signals_a_stranger(site: Site) -> None:
    """A state file that a killed supervisor left, naming a pid that is somebody else's now, is not believed."""
    site.run("start")
    state = site.root / "runtime/neo_light_fix.state"
    left = state.read_text()
    site.run("stop")
    with site.started("run") as stranger:
        state.write_text(re.sub(r"^neo_light_fix\t\d+", f"neo_light_fix\t{stranger.pid}", left))
        with (site.root / "runtime/neo_light_fix.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert site.run("stop").code == 75
        assert stranger.poll() is None
        stranger.kill()


def test_stop_waits_for_the_agents_of_a_killed_supervisor(site: Site) -> None:
    """When `stop` returns nothing is left, even if the supervisor itself had been killed just before."""
    site.agents("ensure_running slow 'trap \"sleep 1; exit\" TERM; echo up; while :; do sleep .1; done'")
    site.run("start")
    wait_until(lambda: site.log("slow"))
    os.kill(site.supervisors()[0], signal.SIGKILL)
    stopped = site.run("stop")
    assert (stopped.code, site.processes()) == (0, {})
    assert "its agents are ending" in stopped.err


def test_restart_tries_again_what_was_given_up(site: Site) -> None:
    """A new supervisor with the mended agent takes the place of the old one."""
    site.agents("ensure_running a 'exit 78'")
    site.run("start")
    wait_until(lambda: "a gave up" in site.log("neo_light_fix"))
    site.agents("ensure_running a 'exec sleep 901'")
    restarted = site.run("restart")
    assert restarted.code == 0
    second = site.pid("a", nth=2)
    wait_until(lambda: site.running("sleep 901") == [second])
    site.run("stop")


def test_restart_of_one_agent_leaves_the_others(site: Site) -> None:
    """It runs as .agents.sh describes it now; supervisor, governor and every other agent stay as they are."""
    site.agents(UP, "ensure_running b 'exec sleep 901'")
    site.run("start")
    up, old, governor, supervisor = site.pid("up"), site.pid("b"), site.pid("capital_governor"), site.supervisors()
    site.agents(UP, "ensure_running b 'echo up; exec sleep 902' logs/other.log")
    restarted = site.run("restart", "b")
    new = site.pid("b", nth=2)
    assert (restarted.code, restarted.err) == (0, f"neo_light_fix.sh: b was restarted, pid {new}\n")
    assert old != new
    wait_until(lambda: site.running("sleep 902") == [new])
    assert site.running("sleep 901") == []
    wait_until((site.root / "logs/other.log").exists)
    assert (site.pids("up"), site.pids("capital_governor"), site.supervisors()) == ([up], [governor], supervisor)
    assert re.search(rf"^b +running, pid {new}, ", site.run("status").out, flags=re.MULTILINE)
    assert list((site.root / "runtime").glob("*restart*")) == []
    site.run("stop")
    assert site.processes() == {}


def test_restart_of_one_agent_that_gave_up_or_is_new(site: Site) -> None:
    """What gave up is tried again, what .agents.sh has since then is kept too; what ends at once is said."""
    site.agents("ensure_running a 'exit 78'")
    site.run("start")
    wait_until(lambda: "a gave up" in site.log("neo_light_fix"))
    again = site.run("restart", "a")
    wait_until(lambda: site.log("neo_light_fix").count("a gave up") == 2)
    # A slow machine may see it end only after the command.
    ended = "a was restarted and has ended again: GAVE UP (exit 78: a person must act)" in again.err
    assert again.code == (78 if ended else 0)
    site.agents("ensure_running a 'exec sleep 901'", "ensure_running c 'exec sleep 903'")
    assert (site.run("restart", "a").code, site.run("restart", "c").code) == (0, 0)
    wait_until(lambda: site.running("sleep 901") + site.running("sleep 903") == [site.pid("a", nth=3), site.pid("c")])
    assert site.run("status").code == 0
    site.run("stop")
    assert site.processes() == {}


def test_restart_of_one_agent_that_is_deaf(site: Site) -> None:
    """It is killed after NEO_LIGHT_STOP_SECONDS, with what it started, before it runs again."""
    site.settings["NEO_LIGHT_STOP_SECONDS"] = "1"
    site.agents("ensure_running deaf \"trap '' TERM; setsid sleep 900 & sleep 901 | sleep 902\"")
    site.run("start")
    wait_until(lambda: len(site.running("sleep 90")) == 3)
    before = site.running("sleep 90")
    assert site.run("restart", "deaf").code == 0
    wait_until(lambda: len(site.running("sleep 90")) == 3)
    assert not set(before) & set(site.running("sleep 90"))
    site.run("stop")
    assert site.processes() == {}


@pytest.mark.parametrize(
    ("name", "lines", "env", "code", "complaint"),
    [
        ("nosuch", (UP,), "", 2, "no agent is called nosuch: there are capital_governor up"),
        ("up", ("ensure_running (",), "", 78, "is not valid bash"),
        ("up", (UP, "ensure_running b nosuch_program"), "", 78, "its command 'nosuch_program' does not exist"),
        ("up", (UP,), "CAPITAL_GOVERNOR_MAX_ALLOC=7\n", 78, "CAPITAL_GOVERNOR_MAX_ALLOC"),
        ("", (UP,), "CAPITAL_GOVERNOR_MAX_ALLOC=7\n", 78, "nothing was stopped: put the settings right"),
    ],
)
def test_restart_finds_what_is_wrong_before_it_stops_anything(
    site: Site, name: str, lines: tuple[str, ...], env: str, code: int, complaint: str
) -> None:
    """Of one agent or of all: a wrong name, .agents.sh or .env is said, and every process stays."""
    site.agents(UP)
    site.run("start")
    pid = site.pid("up")
    wait_until(lambda: site.running("sleep 900") == [pid])
    site.agents(*lines)
    (site.root / ".env").write_text(env)
    refused = site.run("restart", *([name] if name else []))
    assert refused.code == code
    assert complaint in refused.err
    assert (site.running("sleep 900"), site.pids("up")) == ([pid], [pid])
    site.run("stop")


def test_restart_of_one_agent_without_a_supervisor(site: Site) -> None:
    """There is nothing to restart: exit code 3, as of status, and nothing is left to be obeyed later.

    The command in the hint works as printed, whatever the environment has meanwhile.
    """
    site.agents(UP)
    refused = site.run("restart", "up")
    assert refused.code == 3
    start = f"NEOLIGHT_ROOT='{site.root}' './pro ject/neo_light_fix.sh' start"
    assert f"no supervisor runs on {site.root}: `{start}` starts all" in refused.err
    assert list((site.root / "runtime").iterdir()) == []
    environment = site.environment() | {"NEOLIGHT_ROOT": "/"}
    subprocess.run(["/bin/bash", "-c", start], cwd=site.home, env=environment, check=True, capture_output=True)
    site.pid("up")
    site.run("stop")


@pytest.mark.parametrize(
    ("root", "folder", "typed"),
    [
        ("/a b", "/a b", "./neo_light_fix.sh"),
        ("/a b", "/", "'./a b/neo_light_fix.sh'"),
        ("/a b", None, "'/a b/neo_light_fix.sh'"),
        ("/r s", "/c", "NEOLIGHT_ROOT='/r s' '/a b/neo_light_fix.sh'"),
    ],
)
def test_a_hint_is_what_must_be_typed(root: str, folder: str | None, typed: str) -> None:
    """Anywhere in full, below the folder with ./, and with the root where that is not the script's folder."""
    shown = typed_script(Path("/a b/neo_light_fix.sh"), Path(root), None if folder is None else Path(folder))
    assert shown == typed


def test_a_request_of_another_user_is_not_obeyed(site: Site) -> None:
    """Whoever may write in runtime/ cannot run commands as the supervisor: the request is deleted, and that is said."""
    if os.geteuid() != 0:
        pytest.skip("only root can write a file of another user's")
    site.agents(UP)
    site.run("start")
    pid = site.pid("up")
    request = site.root / "runtime/neo_light_fix.restart.up"
    request.write_text('{"name": "up", "command": ["sleep", "904"], "log": "logs/up.log"}')
    os.chown(request, 12345, 12345)
    os.kill(site.supervisors()[0], signal.SIGCONT)
    wait_until(lambda: "is not obeyed: it is not of this user" in site.log("neo_light_fix"))
    assert not request.exists()
    assert (site.running("sleep 900"), site.running("sleep 904")) == ([pid], [])
    site.run("stop")


def test_an_older_supervisor_is_not_harmed_by_a_request(site: Site) -> None:
    """It takes none: exit code 75, everything runs on, and nothing is left to be obeyed later."""
    site.change_supervisor(
        "from capital_governor.supervisor.supervise import Supervisor",
        "Supervisor._take_requests = lambda self: None",
    )
    site.agents(UP)
    site.run("start")
    pid = site.pid("up")
    wait_until(lambda: site.running("sleep 900") == [pid])
    refused = site.run("restart", "up")
    assert refused.code == 75
    assert "does not restart single agents" in refused.err
    assert site.running("sleep 900") == [pid]
    assert list((site.root / "runtime").glob("*restart*")) == []
    site.run("stop")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("ensure_running (", "is not valid bash"),
        ("exit 0", "ended before its last line"),
        ("set -e; false", "ended before its last line"),
        ("ensure_running 'a b' true", "a name is 1 to 64 letters"),
        ("ensure_running a", "the command, is missing"),
        ("ensure_running up true", "this name is taken"),
        ("ensure_running capital_governor true", "this name is taken"),
        ("ensure_running neo_light_fix true", "this name is taken"),
        ("ensure_running a echo trader/bot.py logs/a.log", "4 arguments are too many: put the command"),
        ("ensure_running a true runtime", "runtime is a folder"),
        ("ensure_running a true logs/up.log", "up writes to"),
        ("ensure_running a true logs/neo_light_fix.log", "neo_light_fix writes to"),
    ],
)
def test_a_faulty_agents_file_is_refused(site: Site, line: str, complaint: str) -> None:
    """The fault is named, the exit code is 78, and nothing is started."""
    site.agents(UP, line)
    refused = site.run("start")
    assert refused.code == 78
    assert complaint in refused.err
    assert not (site.root / "runtime/neo_light_fix.lock").exists()


@pytest.mark.parametrize(
    "line",
    [
        "ensure_running a 'nosuch_program --fast x'",
        """ensure_running a 'MODE=paper KEY="a b" nosuch_program x'""",
        "ensure_running a 'exec nosuch_program'",
        "ensure_running a 'agents/nosuch_program.sh 2>&1'",
        "ensure_running a \"'$ROOT/nosuch_program' && true\"",
    ],
)
def test_a_command_that_does_not_exist_is_refused(site: Site, line: str) -> None:
    """Agent and word are named, the exit code is 78, and what runs goes on, or nothing is started."""
    site.agents(UP, line)
    for running in (False, True):
        if running:
            site.agents(UP)
            site.run("start")
            pid = site.pid("up")
            site.agents(UP, line)
        refused = site.run("restart" if running else "start")
        assert (refused.code, refused.err.count("\n")) == (78, 1), refused.err
        assert re.search(r"ensure_running a: its command '\S*( ot/)?nosuch_program\S*' does not exist", refused.err)
        assert refused.err.endswith("; nothing was stopped\n") is running
    assert site.running("sleep 900") == [pid]
    site.run("stop")


@pytest.mark.parametrize(
    "line",
    [
        "nosuch || echo up",
        "nosuch; echo up",
        "nosuch & echo up",
        "nosuch 2>&1 | cat; echo up",
        "f() { echo up; }; f",
        "nosuch () { echo up; }; nosuch",
        "PATH=$PWD:$PATH; helper",
        'PATH="$PWD:$PATH" helper',
        "MODE=paper ./helper",
        "B='x y' exec ./helper",
        "cd / && echo up",
        "[[ -e nosuch ]] || echo up",
        "if true; then echo up; fi",
        "time echo up",
        "2>x echo up",
        '"$PWD/helper"',
        "exported",
    ],
)
def test_a_command_that_bash_can_run_is_run(site: Site, line: str) -> None:
    """Assignments, builtins, functions, also of the environment, quotes and whatever bash decides later."""
    helper = site.root / "helper"
    helper.write_text("#!/bin/sh\necho up\n")
    helper.chmod(0o755)
    site.settings["BASH_FUNC_exported%%"] = "() { echo up; }"
    (site.project / ".agents.sh").write_text(f"ensure_running a {shlex.quote(line)}\n")
    started = site.run("start")
    assert started.code == 0, started.err
    wait_until(lambda: "up\n" in site.log("a"))
    site.run("stop")


def test_a_faulty_agents_file_is_found_before_anything_is_stopped(site: Site) -> None:
    """`restart` refuses it with exit code 78 and leaves the running supervisor and its agents as they are."""
    site.agents(UP)
    site.run("start")
    pid = site.pid("up")
    wait_until(lambda: site.running("sleep 900") == [pid])
    site.agents("ensure_running (")
    assert site.run("restart").code == 78
    assert site.running("sleep 900") == [pid]
    site.run("stop")


def test_the_agents_file_is_bash_that_cannot_disturb_the_supervisor(site: Site) -> None:
    """It may print, fail, set what it likes and use ROOT; its agents start in the root with bash's whole language."""
    site.agents(
        "VENV=x; PROJECT=x; readonly ROOT; echo hello; set -u; unset HOME; trap 'echo out' EXIT; die() { :; }",
        "for n in 1 2; do",
        """  ensure_running "a-$n" "echo $n '$ROOT' && pwd | cat && exec sleep 90$n" "$ROOT/deep/er/a$n.txt" """,
        "done",
        "[[ -e nowhere ]] && ensure_running never 'sleep 903'",
    )
    started = site.run("start")
    assert started.code == 0
    for number in (1, 2):
        text = lines_of(site.root / f"deep/er/a{number}.txt", 2)
        assert text == f"{number} {site.root}\n{site.root}\n"
    assert site.running("sleep 903") == []
    site.run("stop")


def test_start_shows_why_it_failed(site: Site) -> None:
    """A supervisor that cannot come up passes its sentence and its exit code on to `start`."""
    (site.root / "runtime").mkdir()
    (site.root / "runtime/neo_light_fix.lock").mkdir()
    started = site.run("start")
    assert started.code == 78
    assert f"cannot write in {site.root}/runtime: let this user write to neo_light_fix.lock" in started.err
    assert "line" not in started.err
    assert site.processes() == {}


@pytest.mark.parametrize("kind", ["root", "runtime", "logs", "own log", "no folder"])
def test_a_root_that_may_not_be_written_is_one_sentence(site: Site, kind: str) -> None:
    """It names what cannot be written and what to do about it; exit code 78, and nothing is started."""
    site.bound = True
    runtime, logs = site.root / "runtime", site.root / "logs"
    if kind == "no folder":
        runtime.write_text("a file")
    elif kind != "root":
        runtime.mkdir()
        logs.mkdir()
    closed = {"root": site.root, "runtime": runtime, "logs": logs}.get(kind)
    if closed is not None:
        closed.chmod(0o555)
    if kind == "own log":
        (logs / "neo_light_fix.log").mkdir()
    started = site.run("start")
    if closed is not None:
        closed.chmod(0o755)
    assert (started.code, started.out, started.err.count("\n")) == (78, "", 1), started.err
    assert re.search(
        r"neo_light_fix\.sh: cannot write to .*: let this user write there, (or )?move away ", started.err
    ), started.err
    assert str(site.root) in started.err
    assert site.processes() == {}


def test_start_says_at_once_that_settings_are_wrong(site: Site) -> None:
    """The other agents run; whoever started them reads what is wrong without looking into a log."""
    site.govern(None)
    site.agents(UP)
    site.settings = {"CAPITAL_GOVERNOR_INTERVALL": "60"}
    started = site.run("start")
    assert started.code == 0
    assert "CAPITAL_GOVERNOR_INTERVAL" in started.err
    assert "the governor does not govern" in started.err
    wait_until(lambda: site.log("up"))
    wait_until(lambda: "capital_governor gave up with exit code 78" in site.log("neo_light_fix"))
    site.settings = {}
    mended = site.run("restart")
    assert mended.code == 0
    assert "does not govern" not in mended.err
    site.run("stop")


def test_logs_follows_all_or_one(site: Site) -> None:
    """`logs` shows every log under its name, `logs NAME` one, and an unknown name is answered with the known ones."""
    site.govern("echo governs; exec sleep 1000")
    site.agents(UP)
    site.run("start")
    wait_until(lambda: site.log("up"))
    for arguments, shown in (((), {"up.log", "capital_governor.log", "neo_light_fix.log"}), (("up",), set[str]())):
        with site.started("logs", *arguments) as following:
            assert following.stdout
            seen, headings = "", set[str]()
            while not re.search(r"^up$", seen, flags=re.MULTILINE) or not shown <= headings:
                line = following.stdout.readline()
                assert line
                seen += line
                headings |= {name.rpartition("/")[2] for name in re.findall(r"^==> (.*) <==$", line)}
            following.kill()
    unknown = site.run("logs", "upp")
    assert unknown.code == 2
    assert "capital_governor up neo_light_fix" in unknown.err
    site.run("stop")


@pytest.mark.parametrize(
    ("environment", "content", "kept"),
    [
        (None, None, False),
        ("1", None, True),
        ("0", "CAPITAL_GOVERNOR_HIVE=1", False),
        ("", "CAPITAL_GOVERNOR_HIVE=1", True),
        (None, "CAPITAL_GOVERNOR_HIVE=1\nCAPITAL_GOVERNOR_HIVE=0", False),
        (None, "CAPITAL_GOVERNOR_HIVE=0\nCAPITAL_GOVERNOR_HIVE=1", True),
        (None, " export CAPITAL_GOVERNOR_HIVE = '1' # on\r\n", True),
        (None, 'CAPITAL_GOVERNOR_HIVE="1"', True),
        (None, "# CAPITAL_GOVERNOR_HIVE=1\nMY_CAPITAL_GOVERNOR_HIVE=1", False),
        (None, "OTHER=CAPITAL_GOVERNOR_HIVE=1", False),
        (None, "\ufeffCAPITAL_GOVERNOR_HIVE=1\r\n", True),
        (None, "A=1\r\n\ufeffCAPITAL_GOVERNOR_HIVE=1\r\n", True),
        (None, "export\tCAPITAL_GOVERNOR_HIVE='1'", True),
        (None, "CAPITAL_GOVERNOR_HIVE=1 # on", True),
    ],
)
def test_the_hive_is_kept_where_its_setting_is_1(
    site: Site, environment: str | None, content: str | None, kept: bool
) -> None:
    """The script finds in environment and `.env` what the program finds there, and keeps the hive accordingly."""
    given = {} if environment is None else {"CAPITAL_GOVERNOR_HIVE": environment}
    if content is not None:
        (site.root / ".env").write_text(content)
    site.settings |= given
    shown = site.run("status").out
    assert bool(re.search(r"^hive +stopped$", shown, flags=re.MULTILINE)) is kept
    assert load(site.root, given).hive is kept


def test_the_hive_is_kept_where_a_file_in_utf_16_says_so(site: Site) -> None:
    """As Windows editors save it, with a byte-order mark."""
    (site.root / ".env").write_text("CAPITAL_GOVERNOR_HIVE=1\r\n", encoding="utf-16")
    assert re.search(r"^hive +stopped$", site.run("status").out, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("CAPITAL_GOVERNOR_HIVE=1\n".encode("utf-16-le"), ".env is not UTF-8 text; save it as UTF-8"),
        (b'CAPITAL_GOVERNOR_HIVE="1\n', "CAPITAL_GOVERNOR_HIVE (.env) is not read: its line"),
        (b"CAPITAL_GOVERNOR_HIVE=yes\n", "it is 'yes' and takes 0 or 1"),
    ],
)
def test_a_hive_that_cannot_be_known_of_is_said(site: Site, content: bytes, complaint: str) -> None:
    """A .env that cannot be read keeps no agent down; that there is no hive, and why, is said by whoever starts it."""
    (site.root / ".env").write_bytes(content)
    site.agents(UP)
    started = site.run("start")
    assert started.code == 0
    assert complaint in started.err
    assert started.err.count("whether to keep the hive cannot be told from CAPITAL_GOVERNOR_HIVE") == 1
    wait_until(lambda: "up" in site.log("up"))
    wait_until(lambda: "so it is not kept" in site.log("neo_light_fix"))
    assert site.pids("hive") == []
    site.run("stop")


@pytest.mark.parametrize("missing", ["neo_light_fix.stamp", "bin/python"])
def test_status_and_stop_need_no_environment(site: Site, missing: str) -> None:
    """Nobody makes .venv to find out about the hive; both commands answer, and one out of date can still tell."""
    (site.root / ".env").write_text("CAPITAL_GOVERNOR_HIVE=1\n")
    (site.project / ".venv" / missing).unlink()
    shown, stopped = site.run("status"), site.run("stop")
    assert (shown.code, stopped.code) == (3, 0)
    assert re.search(r"^capital_governor +stopped$", shown.out, flags=re.MULTILINE)
    # Another Python may have the library that reads .env.
    assert "hive" in shown.out or missing == "bin/python"
    assert "the environment is not ready" in shown.err
    assert not (site.project / ".venv" / missing).exists()


def test_a_name_of_the_hives_is_taken(site: Site) -> None:
    """An agent called hive beside the hive is refused before anything starts."""
    site.settings["CAPITAL_GOVERNOR_HIVE"] = "1"
    site.agents("ensure_running hive 'sleep 900'")
    refused = site.run("start")
    assert (refused.code, refused.err) == (78, "neo_light_fix.sh: ensure_running hive: this name is taken\n")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (f"{UP}\r\n".encode(), "the line ends of Windows"),
        (f"\ufeff{UP}\n".encode(), "begins with a byte-order mark"),
        (f"{UP}\n".encode("utf-16"), "is no plain text (it may be UTF-16)"),
        (f"{UP}\n".encode("utf-16-le"), "is no plain text (it may be UTF-16)"),
    ],
)
def test_an_agents_file_of_another_system_is_refused(site: Site, content: bytes, complaint: str) -> None:
    """One line names the file, what is wrong with it and how to save it; the supervisor that runs goes on."""
    site.agents(UP)
    site.run("start")
    pid = site.pid("up")
    file = site.project / ".agents.sh"
    file.write_bytes(content)
    refused = site.run("restart")
    assert (refused.code, refused.err.count("\n")) == (78, 1), refused.err
    assert f"{file} " in refused.err
    assert complaint in refused.err
    assert "save it" in refused.err
    assert site.running("sleep 900") == [pid]
    site.run("stop")


def test_a_hive_serves_and_one_without_a_port_gives_up(site: Site) -> None:
    """The hive answers at the dashboard's port; where that is taken it is not tried again, and the log says why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.settings |= {"CAPITAL_GOVERNOR_HIVE": "1", "NEOLIGHT_DASHBOARD_URL": f"http://127.0.0.1:{port}"}
        site.run("start")
        wait_until(lambda: "hive gave up with exit code 78" in site.log("neo_light_fix"))
        wait_until(lambda: f"port {port} is taken" in site.log("hive"))
    site.run("restart")
    wait_until(lambda: " serving " in site.log("hive"))
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"http://127.0.0.1:{port}/status", timeout=PATIENCE_SECONDS).json()["status"] == "up"
    site.run("stop")
    assert "[hive] stopped" in site.log("hive")
    assert site.processes() == {}


def test_a_demo_keeps_none_of_the_operators_agents(site: Site) -> None:
    """What the demo starts keeps the governor and, by the demo's own .env, the hive; .agents.sh is not even read."""
    site.agents(UP, "touch read")
    (site.root / ".env").write_text("CAPITAL_GOVERNOR_HIVE=1\nNEOLIGHT_DASHBOARD_URL=http://127.0.0.1:1\n")
    with site.started("_demo") as supervisor:
        state_file = site.root / "runtime/neo_light_fix.state"
        wait_until(lambda: state_file.exists() and "capital_governor\trunning\t" in state_file.read_text())
        kept = [line.split("\t")[0] for line in state_file.read_text().splitlines()]
        supervisor.terminate()
        supervisor.communicate(timeout=PATIENCE_SECONDS)
    assert kept == ["neo_light_fix", "capital_governor", "hive"]
    assert not list(site.home.rglob("read"))
