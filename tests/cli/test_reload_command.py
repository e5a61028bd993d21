"""``reload``: a running governor takes over what has changed in .env, and the operator reads what."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from capital_governor.adapters.paths import Paths
from capital_governor.cli.settings_in_force import settings_not_in_force
from capital_governor.service.settings_record import read_record, record_path
from tests.rigs.bot_api import TOKEN, BotApi
from tests.rigs.commands import CommandResult, start
from tests.rigs.daemon import Daemon, configure, reading
from tests.rigs.dashboard import Dashboard, fresh
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.raw_server import Connection

SCRIPT = Path(__file__).resolve().parents[2] / "neo_light_fix.sh"
OTHER_TOKEN = TOKEN[:-1] + "1"


def reload(root: Path, *words: str, **environment: str) -> CommandResult:
    command = [sys.executable, "-m", "capital_governor", "reload", "--root", str(root), *words]
    known = {"PATH": os.defpath, "NEOLIGHT_DASHBOARD_URL": "http://127.0.0.1:1"}
    done = subprocess.run(
        command, env=known | environment, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def recorded(root: Path) -> Path:
    path = record_path(root / "runtime")
    wait_until(lambda: read_record(path) is not None)
    return path


def test_new_settings_are_taken_over_and_told(root: Path, dashboard: Dashboard) -> None:
    """The status shows it before; then it is printed, logged, sent to the phone and stored, and no longer shown."""
    with BotApi() as api:
        configure(root, api, CAPITAL_GOVERNOR_THRESHOLD="0.3")
        with Daemon(root, dashboard.url, interval=0.2) as daemon:
            daemon.says("Allocations saved")
            recorded(root)
            configure(root, api, CAPITAL_GOVERNOR_THRESHOLD="0.2", CAPITAL_GOVERNOR_MAX_ALLOC="0.6")
            changes = ["CAPITAL_GOVERNOR_MAX_ALLOC: 0.4 in force, 0.6 in .env"]
            changes.append("CAPITAL_GOVERNOR_THRESHOLD: 0.3 in force, 0.2 in .env")
            assert sorted(settings_not_in_force(Paths(root))) == changes
            status = start(root, "status")
            assert f"\nsettings   {changes[0]}\nsettings   {changes[1]}\n" in status.out
            assert "act        let the governor take over what has changed in .env: `" in status.out
            assert start(root, "status", "--json").json["settings_not_in_force"] == changes
            for words in (("check",), ("once", "--dry-run")):
                warnings = start(root, *words, "--json", url=dashboard.url).json["warnings"]
                assert warnings == [f"a governor runs with other settings than this shows: {line}" for line in changes]
            done = reload(root)
            assert (done.code, done.err) == (0, "")
            assert "CAPITAL_GOVERNOR_THRESHOLD: 0.3 -> 0.2\n" in done.out
            assert "CAPITAL_GOVERNOR_MAX_ALLOC: 0.4 -> 0.6\n" in done.out
            wait_until(lambda: settings_not_in_force(Paths(root)) == ())
            assert ".env" not in start(root, "status").out
            assert read_record(record_path(root / "runtime")).outcome == "in force"  # type: ignore[union-attr]
            daemon.says("Setting changed: CAPITAL_GOVERNOR_THRESHOLD: 0.3 -> 0.2")
            wait_until(lambda: any("\n2 settings changed:\n" in text for text in api.taken))
            daemon.end()
    (told,) = [text for text in api.taken if text.startswith("🔧")]
    assert "CAPITAL_GOVERNOR_THRESHOLD: 0.3 -> 0.2\nThey count from the next cycle on." in told
    with reading(root) as journal:
        assert [text for (text,) in journal._db.rows("SELECT text FROM notices WHERE text LIKE '🔧%'")] == [told]


@pytest.mark.parametrize("by_hand", [False, True])
def test_wrong_settings_change_nothing(root: Path, dashboard: Dashboard, *, by_hand: bool) -> None:
    """The command refuses them with 78 before it asks; asked by a signal, the governor refuses and tells the phone."""
    with BotApi() as api:
        configure(root, api)
        with Daemon(root, dashboard.url, interval=0.2) as daemon:
            daemon.says("Allocations saved")
            path = recorded(root)
            configure(root, api, CAPITAL_GOVERNOR_THRESHOLD="nan")
            if by_hand:
                daemon.process.send_signal(signal.SIGHUP)
                wait_until(
                    lambda: any("\n.env is wrong (1 problem): no setting was changed.\n" in text for text in api.taken)
                )
                told = next(text for text in api.taken if "no setting was changed" in text)
                assert "CAPITAL_GOVERNOR_THRESHOLD=nan (.env)" in told
                assert told.endswith(f"\nAct: correct .env, then:\n{SCRIPT} reload --root {root}")
                wait_until(lambda: (found := read_record(path)) is not None and found.outcome == "refused")
            else:
                refused = reload(root)
                assert (refused.code, refused.out) == (78, "")
                assert "CAPITAL_GOVERNOR_THRESHOLD=nan" in refused.err
                assert "nothing was changed: a running governor goes on with what it had\n" in refused.err
                assert "Settings not reloaded" not in daemon.log.read_text()
            before = len(dashboard.asked)
            dashboard.wait_for(before + 2)
            assert daemon.log.read_text().count("Start: ") == 1
            daemon.end()


def test_what_only_the_governor_can_refuse_is_told(root: Path, dashboard: Dashboard) -> None:
    """Settings that are right here, but not with the governor's own environment: it says why, exit code 78."""
    with Daemon(root, dashboard.url, interval=0.2, MIN_ALLOC="0.3") as daemon:
        daemon.says("Allocations saved")
        recorded(root)
        configure(root, CAPITAL_GOVERNOR_MAX_ALLOC="0.2")
        refused = reload(root)
        assert (refused.code, refused.out) == (78, "")
        assert "CAPITAL_GOVERNOR_MAX_ALLOC" in refused.err
        assert "the governor goes on with the settings that it had" in refused.err
        daemon.end()


def test_the_same_settings_change_nothing(root: Path, dashboard: Dashboard) -> None:
    """It is said, also in JSON; what the governor's environment sets is no difference to .env."""
    configure(root, CAPITAL_GOVERNOR_INTERVAL="300")
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("Allocations saved")
        recorded(root)
        done = reload(root)
        assert (done.code, done.out.partition(":")[0]) == (0, "Nothing to change")
        assert json.loads(reload(root, "--json").out) == {"outcome": "same", "changes": [], "not_in_force": []}
        assert settings_not_in_force(Paths(root)) == ()
        daemon.end()


def test_the_cycle_in_progress_ends_first(root: Path, dashboard: Dashboard) -> None:
    """New settings wait for it; the command says so and does not wait for long."""
    with Daemon(root, dashboard.url, interval=0.2, FETCH_DEADLINE="60") as daemon:
        daemon.says("Allocations saved")
        recorded(root)
        held, go = Event(), Event()

        def hold_back(connection: Connection) -> None:
            held.set()
            go.wait(PATIENCE_SECONDS)
            fresh()(connection)

        dashboard.next(hold_back, fresh())
        assert held.wait(PATIENCE_SECONDS)
        configure(root, CAPITAL_GOVERNOR_THRESHOLD="0.2")
        done = reload(root)
        go.set()
        assert (done.code, done.out.splitlines()) == (
            0,
            [
                "CAPITAL_GOVERNOR_THRESHOLD: 0.1 -> 0.2",
                "Accepted: in force as soon as the cycle in progress has ended.",
            ],
        )
        wait_until(lambda: settings_not_in_force(Paths(root)) == ())
        daemon.end()


def test_without_a_governor_there_is_nothing_to_reload(root: Path, dashboard: Dashboard) -> None:
    """Exit code 75 and one sentence; a governor that was killed is not signalled, whoever has its pid now."""
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        path = recorded(root)
        daemon.says("Allocations saved")
        daemon.kill()
    done = reload(root)
    assert (done.code, done.out, done.err.count("\n")) == (75, "", 1)
    assert f"no governor runs on {root}: the next start takes over what is in .env" in done.err
    assert read_record(path) is None


def test_a_secret_is_compared_and_never_shown(root: Path, dashboard: Dashboard) -> None:
    """The record is private and has no secret; that another token is in .env is seen all the same."""
    with BotApi() as api:
        configure(root, api)
        with Daemon(root, dashboard.url, interval=0.2) as daemon:
            path = recorded(root)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert TOKEN not in path.read_text()
            assert TOKEN.partition(":")[2] not in path.read_text()
            assert settings_not_in_force(Paths(root)) == ()
            configure(root, api, TELEGRAM_BOT_TOKEN=OTHER_TOKEN)
            assert settings_not_in_force(Paths(root)) == ("TELEGRAM_BOT_TOKEN: ******** in force, another one in .env",)
            daemon.end()


def test_wrong_settings_beside_a_running_governor_are_to_be_corrected(root: Path, dashboard: Dashboard) -> None:
    """It goes on with what it has, but nobody could start it again."""
    with Daemon(root, dashboard.url, interval=0.2) as daemon:
        daemon.says("Allocations saved")
        (root / ".env").write_text("CAPITAL_GOVERNOR_MAX_ALLOC=nope\n")
        document = start(root, "status", "--json").json
    (fault,) = document["settings_faults"]
    assert "CAPITAL_GOVERNOR_MAX_ALLOC" in fault
    wrong = "correct the settings (1 problem), or no governor can be started again: "
    (act,) = [act for act in document["act"] if act.startswith(wrong)]
    assert f" check --root {root}` shows them" in act
