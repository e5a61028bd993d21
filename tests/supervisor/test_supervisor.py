"""neo_light_fix.sh as a supervisor: real processes, started, failing, ended and killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.script_machine import REPOSITORY
from tests.rigs.supervised import Site


def waits(site: Site, name: str) -> list[float]:
    return [float(wait) for wait in re.findall(rf"{name} ended .*: started again in ([0-9.]+) s", site.said())]


def end(supervisor: subprocess.Popen[str]) -> int:
    supervisor.terminate()
    return supervisor.wait(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("code", [0, 3])
def test_an_agent_that_ends_is_started_again_ever_later(site: Site, code: int) -> None:
    """The wait doubles up to its maximum, is really waited, and is the same for exit code 0: an agent is to stay."""
    site.agents(f"ensure_running brief 'echo $EPOCHREALTIME; exit {code}'")
    with site.started() as supervisor:
        wait_until(lambda: len(waits(site, "brief")) >= 4)
        end(supervisor)
    assert waits(site, "brief")[:4] == [0.2, 0.4, 0.8, 0.8]
    assert f"brief ended with exit code {code}" in site.said()
    starts = [float(line) for line in site.log("brief").split()]
    gaps = [later - sooner for sooner, later in pairwise(starts[:4])]
    # A wait is counted in hundredths of a second, and from when the supervisor last looked at the clock.
    assert all(gap > wait / 2 for gap, wait in zip(gaps, [0.2, 0.4, 0.8], strict=True))


def test_a_while_of_health_makes_the_next_wait_short_again(site: Site) -> None:
    """An agent that ran as long as NEO_LIGHT_HEALTHY_SECONDS is waited for as if it had failed for the first time."""
    site.settings["NEO_LIGHT_HEALTHY_SECONDS"] = "3"
    # The run after the first wait of 0.8 s is a long one.
    long = f'! grep -q "moody.*again in 0.8" "{site.home / "said"}" || [[ -e long ]] || {{ touch long; sleep 3.2; }}'
    site.agents(f"ensure_running moody '{long}; exit 1'")
    with site.started() as supervisor:
        wait_until(lambda: 0.8 in waits(site, "moody")[:-1])
        end(supervisor)
    waited = waits(site, "moody")
    longest = waited.index(0.8)
    assert waited[0] == waited[longest + 1] == 0.2
    # A machine may be so slow that a brief run is long.
    assert all(later in {0.2, 2 * sooner} for sooner, later in pairwise(waited[: longest + 1]))


def test_what_a_person_must_mend_is_said_once_and_not_tried_again(site: Site) -> None:
    """Exit code 78 ends the attempts for this agent alone; the others are kept running, and `status` shows it."""
    site.govern("echo bad settings >&2; exit 78")
    site.agents("ensure_running brief 'exit 1'")
    with site.started() as supervisor:
        wait_until(lambda: len(waits(site, "brief")) >= 4 and "capital_governor gave up" in site.said())
        shown = site.run("status")
        assert end(supervisor) == 0
    assert site.said().count("capital_governor gave up with exit code 78") == 1
    assert len(site.pids("capital_governor")) == 1
    assert site.log("capital_governor") == "bad settings\n"
    assert re.search(r"^capital_governor +GAVE UP \(exit 78: a person must act\) at ", shown.out, flags=re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_in_order(site: Site, number: signal.Signals) -> None:
    """Agents get SIGTERM, Ctrl-C or not, may say their last words, and are gone when the supervisor exits with 0."""
    traps = 'trap "echo int" INT; trap "echo bye; exit" TERM'
    site.agents(f"ensure_running polite 'exec 2>/dev/null; {traps}; echo up; while :; do sleep .1; done'")
    with site.started() as supervisor:
        wait_until(lambda: site.log("polite") == "up\n")
        os.killpg(supervisor.pid, number)
        assert supervisor.wait(timeout=PATIENCE_SECONDS) == 0
    assert site.processes() == {}
    assert site.log("polite") == "up\nbye\n"
    assert f"{number.name}: ending all agents" in site.said()


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(site: Site) -> None:
    """Started by `nohup` the supervisor outlives its terminal: SIGHUP ends nothing, SIGTERM does."""
    site.agents("ensure_running brief 'exit 1'")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        supervisor = site.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    with supervisor:
        site.pid("brief")
        supervisor.send_signal(signal.SIGHUP)
        enough = len(site.pids("brief")) + 2
        wait_until(lambda: len(site.pids("brief")) >= enough)
        assert end(supervisor) == 0
    assert "SIGHUP" not in site.said()


def test_an_agent_that_does_not_end_is_killed_with_all_it_started(site: Site) -> None:
    """After NEO_LIGHT_STOP_SECONDS comes SIGKILL, for children that ignore SIGTERM in a session of their own, too."""
    site.settings["NEO_LIGHT_STOP_SECONDS"] = "1"
    site.agents("ensure_running deaf \"trap '' TERM; setsid sleep 900 & sleep 901 | sleep 902\"")
    with site.started() as supervisor:
        wait_until(lambda: len(site.running("sleep 90")) >= 3)
        assert end(supervisor) == 0
    assert site.processes() == {}


def test_nothing_outlives_a_killed_supervisor(site: Site) -> None:
    """After `kill -9` of the supervisor every agent, all it started, and all that stood around it end by themselves."""
    site.agents("ensure_running a '(setsid sleep 900 &); sleep 901 | sleep 902'", "ensure_running b 'exit 1'")
    with site.started() as supervisor:
        wait_until(lambda: len(site.running("sleep 90")) >= 3)
        supervisor.kill()
        supervisor.wait()
    wait_until(lambda: not site.processes())


def test_a_new_supervisor_waits_for_the_agents_of_a_killed_one(site: Site) -> None:
    """Two copies of an agent never run at once: the new one is started when the slow old one has ended."""
    trap = 'trap "sleep 1; echo end; exit" TERM'
    site.agents(f"ensure_running slow 'exec 2>/dev/null; {trap}; echo up; while :; do sleep .1; done'")
    with site.started() as first:
        wait_until(lambda: "up" in site.log("slow"))
        first.kill()
    with site.started() as second:
        wait_until(lambda: site.log("slow").count("up") == 2)
        end(second)
    assert site.log("slow") == "up\nend\nup\nend\n"
    assert "waiting for the agents of a supervisor that was killed" in site.said()


def test_an_upgrade_below_a_running_supervisor_is_for_the_next_one(site: Site) -> None:
    """A `git pull` may replace all that it is made of: it goes on as it began, and ends in order."""
    copy = site.home / "copy"
    package = shutil.copytree(
        REPOSITORY / "capital_governor", copy / "capital_governor", ignore=shutil.ignore_patterns("__pycache__")
    )
    site.change_supervisor("import sys", f"sys.path.insert(0, {str(copy)!r})")
    (site.root / ".env").write_text("CAPITAL_GOVERNOR_HIVE=0\n")
    site.agents("ensure_running brief 'exit 1'", "ensure_running final '[[ ! -e go ]] || exit 78; sleep .1'")
    with site.started() as supervisor:
        site.pid("final")
        for module in package.rglob("*.py"):
            module.write_text("of the next version(\n")
        (site.root / "go").touch()
        enough = len(site.pids("brief")) + 3
        wait_until(lambda: len(site.pids("brief")) >= enough and "final gave up" in site.said())
        assert end(supervisor) == 0
    assert "Traceback" not in site.said()
    assert site.said().endswith(": stopped\n")
    assert site.processes() == {}


def test_a_killed_governor_is_started_again(site: Site) -> None:
    """After `kill -9` of the real governor another one, with another pid, writes the status file."""
    site.govern(None)
    status = site.root / "runtime/capital_governor_status.json"
    with site.started() as supervisor:
        first = site.pid("capital_governor")
        wait_until(lambda: status.exists() and f'"pid": {first}' in status.read_text())
        os.kill(first, signal.SIGKILL)
        second = site.pid("capital_governor", nth=2)
        wait_until(lambda: f'"pid": {second}' in status.read_text())
        assert end(supervisor) == 0
    assert "capital_governor ended with exit code 137: started again in 0.200 s" in site.said()
    assert "Capital Governor stopped" in site.log("capital_governor")
    assert site.processes() == {}


def test_a_root_has_one_supervisor(site: Site) -> None:
    """A second one says one sentence, with exit code 75 in the foreground, 0 from `start`; the first goes on."""
    with site.started() as supervisor:
        first = site.pid("capital_governor")
        for arguments, code in (((), 75), (("start",), 0)):
            with site.started(*arguments) as second:
                _, err = second.communicate(timeout=PATIENCE_SECONDS)
            assert second.returncode == code
            message = err or site.said().splitlines()[-1]
            assert len(message.strip().splitlines()) == 1
            assert str(site.root) in message
        assert site.running("sleep 1000") == [first]
        end(supervisor)


def test_the_env_file_is_data(site: Site) -> None:
    """The supervisor, its agents' shells and the governor read or ignore `.env`; nobody executes it."""
    site.govern(None)
    for folder in (site.root, site.project):
        (folder / ".env").write_text("X=$(touch pwned)\ntouch pwned2\nCAPITAL_GOVERNOR_INTERVAL=7\n")
    site.agents("ensure_running a 'echo up ${X-unset}; exec sleep 900'")
    with site.started() as supervisor:
        wait_until(lambda: "Config:" in site.log("capital_governor") and site.log("a") == "up unset\n")
        end(supervisor)
    assert not list(site.home.rglob("pwned*"))


def test_a_disk_that_is_full_stops_no_agent(site: Site) -> None:
    """An agent whose log takes nothing goes on writing, and is neither blocked nor ended."""
    talk = "for ((n = 0; n < 30000; n++)); do echo $n; done; touch done; exec sleep 900"
    site.agents(f"ensure_running chatty '{talk}' /dev/full")
    with site.started() as supervisor:
        pid = site.pid("chatty")
        wait_until((site.root / "done").exists)
        assert site.running("sleep 900") == [pid]
        end(supervisor)
    assert not list(Path("/dev").glob("full.*"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEO_LIGHT_BACKOFF_SECONDS", "0"),
        ("NEO_LIGHT_BACKOFF_SECONDS", "61"),
        ("NEO_LIGHT_STOP_SECONDS", "-1"),
        ("NEO_LIGHT_HEALTHY_SECONDS", "1 minute"),
        ("NEO_LIGHT_LOG_KEEP", "0"),
        ("NEO_LIGHT_LOG_MAX_BYTES", "10MB"),
        ("NEOLIGHT_ROOT", "/does/not/exist"),
    ],
)
def test_a_wrong_setting_is_refused(site: Site, name: str, value: str) -> None:
    """One sentence names the variable; the exit code says that trying again does not help; nothing is started."""
    site.settings[name] = value
    with site.started() as supervisor:
        assert supervisor.wait(timeout=PATIENCE_SECONDS) == 78
    assert site.said().count("\n") == 1
    assert name in site.said()
    assert list(site.root.iterdir()) == []


@pytest.mark.parametrize("read_again", [False, True])
def test_a_reader_that_stalls_stops_no_restart_and_no_signal(site: Site, read_again: bool) -> None:
    """With a full pipe behind its messages the supervisor goes on; read again, it says how many could not be said."""
    site.agents("ensure_running brief 'echo once more; exit 3'")
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * 4095 + b"\n")
    os.set_blocking(reading, False)
    with subprocess.Popen(
        [site.project / "neo_light_fix.sh"],
        cwd=site.home,
        env=site.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=writing,
        start_new_session=True,
    ) as supervisor:
        try:
            wait_until(lambda: site.log("brief").count("once more") >= 4)
            said = bytearray()

            def confessed() -> bool:
                with contextlib.suppress(BlockingIOError):
                    said.extend(os.read(reading, 1 << 16))
                return b"neo_light_fix.sh: messages that could not be written: " in said

            if read_again:
                wait_until(confessed)
            supervisor.send_signal(signal.SIGTERM)
            assert supervisor.wait(PATIENCE_SECONDS) == 0
        finally:
            supervisor.kill()
            os.close(reading)
            os.close(writing)
    wait_until(lambda: not site.processes())
