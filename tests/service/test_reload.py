"""SIGHUP: a governor that runs takes over what has changed in .env, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Final

from capital_governor.adapters.lock import is_held
from capital_governor.service.reload import changes
from tests.rigs.bot_api import BotApi
from tests.rigs.cycle_rig import locked, settings_of
from tests.rigs.daemon import Daemon, entries
from tests.rigs.dashboard import Dashboard, fixed, fresh, record
from tests.rigs.patience import wait_until
from tests.rigs.preludes import IMPATIENT_JOURNAL
from tests.rigs.raw_server import hang

TOKEN: Final = "123456789:" + "CANARYtoken" * 3 + "12"


def configure(root: Path, **own: str) -> None:
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in own.items()))


def hang_up(daemon: Daemon, text: str, times: int = 1) -> None:
    daemon.process.send_signal(signal.SIGHUP)
    daemon.says(text, times)


def test_a_changed_setting_counts_from_the_next_cycle(root: Path, dashboard: Dashboard) -> None:
    """A lower threshold lets a change move that was not worth one; the generation goes on, process and lock stay."""
    fleet = {name: record(winrate=rate) for name, rate in (("Ada", 0.6), ("Bob", 0.5), ("Cyd", 0.4))}
    moved = fleet | {"Cyd": record(winrate=0.7)}
    configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.9", CAPITAL_GOVERNOR_TURNOVER_THRESHOLD="0.9")
    dashboard.next(fresh(fleet), fresh(moved))
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("No reallocation needed (no change is worth a move)", 2)
        assert daemon.status()["generation"] == 1
        configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.001", CAPITAL_GOVERNOR_TURNOVER_THRESHOLD="0.9")
        hang_up(daemon, "Setting changed: CAPITAL_GOVERNOR_THRESHOLD: 0.9 -> 0.001")
        daemon.says("Start: resumed at generation 1")
        daemon.says("(generation 2)")
        assert is_held(root / "runtime" / "capital_governor.lock")
        wait_until(lambda: daemon.status()["generation"] == 2)
        assert daemon.status()["pid"] == daemon.process.pid
        assert daemon.log.read_text().count("Setting changed") == 1
        assert daemon.log.read_text().count("Starting Capital Governor") == 1
        daemon.end()


def test_the_journal_has_the_settings_of_each_cycle(root: Path, dashboard: Dashboard) -> None:
    """Also without Telegram: the rules before the change and after it, each with the cycles that they decided."""
    configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.3")
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("Allocations saved")
        configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.2", CAPITAL_GOVERNOR_MAX_STEP="0.5")
        hang_up(daemon, "Start: resumed at generation 1")
        wait_until(lambda: entries(root)[-1].rules.threshold == 0.2)
        daemon.end()
    used = [(entry.rules.threshold, entry.rules.max_step) for entry in entries(root)]
    assert sorted(set(used), key=used.index) == [(0.3, 1.0), (0.2, 0.5)]


def test_name_chat_and_delays_of_messages_count(root: Path, dashboard: Dashboard) -> None:
    """What happened before the reload is told after it as the new settings have it: when, where and in whose name."""
    with BotApi() as before, BotApi() as after:
        own = {"CAPITAL_GOVERNOR_NAME": "old fleet", "CAPITAL_GOVERNOR_ALERT_ERROR": "1000"}
        configure(root, **before.environment, **own)
        with Daemon(root, dashboard.url, interval=0.2) as daemon:
            before.wait_for(1)
            dashboard.next(fixed({}, status="500 Oops"))
            daemon.says("HTTP 500")
            dashboard.wait_for(len(dashboard.asked) + 3)
            own = {"CAPITAL_GOVERNOR_NAME": "new fleet", "CAPITAL_GOVERNOR_ALERT_ERROR": "0"}
            configure(root, **(after.environment | {"TELEGRAM_BOT_TOKEN": TOKEN}), **own)
            daemon.process.send_signal(signal.SIGHUP)
            told = after.wait_for(2)
            daemon.end()
    assert [text.split(" · ")[0] for text in told] == ["🔧 new fleet", "⚠️ new fleet"]
    assert "CAPITAL_GOVERNOR_NAME: old fleet -> new fleet\n" in told[0]
    assert told[1].splitlines()[1].startswith("The dashboard has answered with errors for ")
    assert {path.partition("/sendMessage")[0] for path in after.asked} == {f"/bot{TOKEN}"}
    assert [text.splitlines()[-1].split(" · ")[0] for text in before.taken] == ["old fleet"]


def test_new_settings_wait_while_the_journal_is_lost(root: Path, dashboard: Dashboard) -> None:
    """What a governor has in memory only would be lost with it: the change is taken over once the journal is back."""
    with Daemon(root, dashboard.url, interval=0.2, prelude=IMPATIENT_JOURNAL) as daemon:
        daemon.says("Allocations saved")
        with locked(root / "state" / "capital_governor.sqlite3"):
            daemon.says("Journal cannot be written, memory takes over")
            configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.2")
            hang_up(daemon, "The new settings wait until the journal can be written again")
            dashboard.wait_for(len(dashboard.asked) + 3)
            assert daemon.log.read_text().count("Start: ") == 1
            assert daemon.log.read_text().count("The new settings wait") == 1
        daemon.says("Journal can be written again")
        daemon.says("Start: resumed at generation 1")
        daemon.end()


def test_a_new_interval_is_kept(root: Path, dashboard: Dashboard) -> None:
    """A governor that sleeps for an hour asks again at once, and then at the new interval."""
    configure(root, CAPITAL_GOVERNOR_INTERVAL="3600")
    with Daemon(root, dashboard.url, INTERVAL="") as daemon:
        daemon.says("Allocations saved")
        configure(root, CAPITAL_GOVERNOR_INTERVAL="0.2")
        hang_up(daemon, "Setting changed: CAPITAL_GOVERNOR_INTERVAL: 3600 -> 0.2")
        dashboard.wait_for(4)
        daemon.end()


def test_wrong_settings_are_refused_and_the_old_ones_stay(root: Path, dashboard: Dashboard) -> None:
    """Each fault is one line at ERROR, and cycles go on; put right, the same signal takes the settings over."""
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("Allocations saved")
        configure(root, CAPITAL_GOVERNOR_THRESHOLD="nan", CAPITAL_GOVERNOR_THRESHHOLD="1")
        hang_up(daemon, "Settings not reloaded, the old ones stay: ", 2)
        wrong = [line for line in daemon.lines() if "Settings not reloaded" in line]
        assert all(" ERROR " in line for line in wrong)
        assert "CAPITAL_GOVERNOR_THRESHOLD=nan" in wrong[1]
        assert "did you mean CAPITAL_GOVERNOR_THRESHOLD?" in wrong[0]
        dashboard.wait_for(len(dashboard.asked) + 3)
        assert daemon.log.read_text().count("Start: ") == 1
        configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.2")
        hang_up(daemon, "Setting changed: CAPITAL_GOVERNOR_THRESHOLD: 0.1 -> 0.2")
        daemon.says("Start: resumed at generation 1")
        daemon.end()


def test_settings_that_are_the_same_change_nothing(root: Path, dashboard: Dashboard) -> None:
    """One line says so, and the governor is not opened anew."""
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("Allocations saved")
        hang_up(daemon, "Settings reloaded: none has changed")
        dashboard.wait_for(len(dashboard.asked) + 2)
        daemon.end()
        assert daemon.log.read_text().count("Start: ") == 1


def test_a_journal_that_is_not_ours_is_refused(root: Path, dashboard: Dashboard) -> None:
    """The old settings stay where the new journal turns out to be another program's."""
    with contextlib.closing(sqlite3.connect(root / "foreign.sqlite3")) as db:
        db.execute("CREATE TABLE theirs (a)")
        db.commit()
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("Allocations saved")
        configure(root, CAPITAL_GOVERNOR_JOURNAL="foreign.sqlite3")
        hang_up(daemon, "Settings not reloaded, the old ones stay: ")
        daemon.says("Start: resumed at generation 1")
        dashboard.wait_for(len(dashboard.asked) + 2)
        daemon.end()


def test_state_is_kept(root: Path, dashboard: Dashboard) -> None:
    """A hold, and how often a change was confirmed, outlive a reload."""
    fleet = {name: record(winrate=rate) for name, rate in (("Ada", 0.9), ("Bob", 0.3), ("Cyd", 0.2))}
    moved = {name: record(winrate=rate) for name, rate in (("Ada", 0.2), ("Bob", 0.3), ("Cyd", 0.9))}
    own = {"CAPITAL_GOVERNOR_CONFIRM_CYCLES": "1000", "CAPITAL_GOVERNOR_INTERVAL": "0.2"}
    own |= {f"CAPITAL_GOVERNOR_{name}_WEIGHT": "0" for name in ("PNL", "SHARPE", "DRAWDOWN")}
    own |= {"CAPITAL_GOVERNOR_WINRATE_WEIGHT": "1", "CAPITAL_GOVERNOR_MAX_ALLOC": "1"}
    configure(root, **own)
    dashboard.next(fresh(fleet), fresh(moved))
    with Daemon(root, dashboard.url, INTERVAL="") as daemon:
        dashboard.wait_for(5)
        confirmed = pending(root)
        assert confirmed >= 2
        configure(root, **own, CAPITAL_GOVERNOR_THRESHOLD="0.11")
        hang_up(daemon, "Start: ", 2)
        dashboard.wait_for(len(dashboard.asked) + 2)
        wait_until(lambda: pending(root) > confirmed)
        subprocess.run(
            [sys.executable, "-m", "capital_governor", "hold", "--root", str(root), "--reason", "by hand"],
            check=True,
            capture_output=True,
        )
        daemon.says("by hand")
        configure(root, **own, CAPITAL_GOVERNOR_THRESHOLD="0.12")
        hang_up(daemon, "Start: ", 3)
        wait_until(lambda: daemon.status()["reason"] == "operator_hold")
        dashboard.wait_for(len(dashboard.asked) + 2)
        assert daemon.status()["reason"] == "operator_hold"
        assert daemon.status()["state"] == "holding"
        daemon.end()


def pending(root: Path) -> int:
    """How many cycles in a row have asked for a move and did not get it."""
    return entries(root)[-1].after.asked


def test_a_new_token_is_used_and_both_are_hidden(root: Path, dashboard: Dashboard) -> None:
    """Messages go by the new token; neither it nor the old one is in any line, whatever the level."""
    with BotApi() as api:
        configure(root, **api.environment, CAPITAL_GOVERNOR_LOG_LEVEL="DEBUG")
        with Daemon(root, dashboard.url, interval=0.2) as daemon:
            daemon.says("Telegram notification sent")
            configure(root, **(api.environment | {"TELEGRAM_BOT_TOKEN": TOKEN}), CAPITAL_GOVERNOR_LOG_LEVEL="DEBUG")
            hang_up(daemon, "Setting changed: TELEGRAM_BOT_TOKEN: ******** -> ******** (another one)")
            daemon.says("Start: resumed at generation 1")
            (root / "runtime" / "capital_governor_allocations.json").unlink()
            dashboard.wait_for(len(dashboard.asked) + 2)
            daemon.end()
            text = daemon.log.read_text()
        assert TOKEN not in text
        assert api.environment["TELEGRAM_BOT_TOKEN"] not in text


def test_a_new_form_of_the_log_counts(root: Path, dashboard: Dashboard) -> None:
    """Level and form of the lines follow, and none of the old form comes later."""
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("Allocations saved")
        configure(root, CAPITAL_GOVERNOR_LOG_FORMAT="json", CAPITAL_GOVERNOR_LOG_LEVEL="WARNING")
        hang_up(daemon, "Setting changed: CAPITAL_GOVERNOR_LOG_LEVEL: INFO -> WARNING")
        dashboard.next(hang)
        dashboard.wait_for(len(dashboard.asked) + 1)
        configure(root, CAPITAL_GOVERNOR_LOG_FORMAT="yaml")
        hang_up(daemon, "Settings not reloaded")
        last = json.loads(daemon.lines()[-1])
        assert last["level"] == "ERROR"
        daemon.end()
        assert "Capital Governor stopped" not in daemon.log.read_text()


def test_a_hangup_before_the_loop_is_there_ends_nothing(root: Path, dashboard: Dashboard) -> None:
    """While the program is loaded SIGHUP waits, and then the settings are read again."""
    go = root.with_name("go")
    loads_slowly = (
        "import pathlib, sys, time\n"
        "from capital_governor.service import signals\n"
        "real = signals.end_at_signals\n"
        "def end_at_signals(*words, **more):\n"
        "    real(*words, **more)\n"
        "    print('LOADING', file=sys.stderr, flush=True)\n"
        f"    while not pathlib.Path({str(go)!r}).exists():\n"
        "        time.sleep(0.01)\n"
        "signals.end_at_signals = end_at_signals\n"
    )
    with Daemon(root, dashboard.url, interval=0.2, prelude=loads_slowly) as daemon:
        daemon.says("LOADING")
        daemon.process.send_signal(signal.SIGHUP)
        go.touch()
        daemon.says("Settings reloaded: none has changed")
        daemon.says("Allocations saved")
        daemon.end()


def test_the_end_of_its_terminal_ends_it(root: Path, dashboard: Dashboard) -> None:
    """A governor started in a terminal does not outlive it, though SIGHUP comes then, too."""
    environment = {"PATH": os.defpath, "NEOLIGHT_DASHBOARD_URL": dashboard.url, "CAPITAL_GOVERNOR_INTERVAL": "0.2"}
    pid, terminal = pty.fork()
    if pid == 0:
        words = ["-m", "capital_governor", "run", "--root", str(root)]
        os.execve(sys.executable, [sys.executable, *words], environment)  # noqa: S606 - what pty.fork is for
    ended: list[tuple[int, int]] = []
    open_terminals = contextlib.ExitStack()
    open_terminals.callback(os.close, terminal)
    try:
        wait_until((root / "runtime" / "capital_governor_status.json").exists)
        os.kill(pid, signal.SIGHUP)  # by hand, while the terminal is there
        os.set_blocking(terminal, False)
        seen = b""

        def reloaded() -> bool:
            nonlocal seen
            try:
                seen += os.read(terminal, 1 << 16)
            except BlockingIOError:
                return False
            return b"none has changed" in seen

        wait_until(reloaded)
        open_terminals.close()

        def gone() -> bool:
            found = os.waitpid(pid, os.WNOHANG)
            ended.append(found)
            return found[0] == pid

        wait_until(gone)
    finally:
        open_terminals.close()
        if not ended or ended[-1][0] != pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended[-1][1]) == 0
    status = json.loads((root / "runtime" / "capital_governor_status.json").read_bytes())
    assert status["state"] == "ended"


def test_changes_are_told_by_variable(tmp_path: Path) -> None:
    """Old and new value by variable, secrets masked, and what follows from another setting too."""
    old = settings_of(tmp_path, INTERVAL=300)
    new = settings_of(tmp_path, INTERVAL=600, HEARTBEAT_URL="https://hc.example/CANARY-0123456789")
    assert changes(old, old) == ()
    assert changes(old, new) == (
        "CAPITAL_GOVERNOR_INTERVAL: 300 -> 600",
        "CAPITAL_GOVERNOR_MAX_AGE: 900 -> 1800",
        "CAPITAL_GOVERNOR_HEARTBEAT_URL: (not set) -> ********",
    )
