"""What the manual shows of operating: log, STOP, supervisors, the old governor."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from capital_governor.cli.parser import make_parser
from capital_governor.contracts import exit_codes
from capital_governor.settings.load import load
from tests.manual.pages import (
    REPOSITORY,
    after,
    blocks,
    section,
    shell,
)
from tests.manual.program import Place, in_shell
from tests.rigs.dashboard import Dashboard, fresh
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.supervised import Site


def test_coming_from_the_old_governor(place: Place, tmp_path: Path) -> None:
    """The dry run changes nothing; then the old shares stand to the byte if within bounds, and move at once if not."""
    (look,) = shell("operating", "Coming from the old governor")
    words = look.replace('"$HOME/neolight"', str(tmp_path)).split()
    assert words[:2] == ["./neo_light_fix.sh", "once"]
    primary = tmp_path / "runtime" / "capital_governor_allocations.json"
    primary.parent.mkdir()
    fleet = {"CryptoTrend": 0.32, "DropshipAgent": 0.21, "NewsScalper": 0.04, "SmartTrader": 0.23}

    def reason(shares: Mapping[str, float]) -> str:
        old = {"allocations": shares, "source": "capital_governor", "timestamp": "2025-11-03T22:00:00Z"}
        primary.write_text(json.dumps(old))
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        found = place.json(*words[1:])
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        return str(found["reason"])

    assert reason(fleet) == "below_threshold"
    assert reason(fleet | {"NewsScalper": 0.03}) == "below_floor"
    assert reason(fleet | {"SmartTrader": 0.6, "CryptoTrend": 0.1}) == "limit_breached"


def test_stop_as_shown(tmp_path: Path) -> None:
    """The manual's two lines freeze the shares, and let them go again."""
    freeze, thaw = shell("README", "Stop it")[0].splitlines()
    with Dashboard(fresh()) as dashboard:
        place = Place(tmp_path, dashboard)
        assert place.json("once")["reason"] == "first_allocation"
        in_shell(freeze, tmp_path)
        assert place.json("once")["reason"] == "stopped"
        in_shell(thaw, tmp_path)
        assert place.json("once")["hold"] is None


def test_a_setting_is_changed_as_shown(tmp_path: Path) -> None:
    """A profile that is written to .env is in force after ``reload``, which shows what it changes."""
    (snippet,), (shown,) = (
        shell("operating", "Change a setting"),
        blocks(section("operating", "Change a setting"), "text"),
    )
    edit, command = snippet.splitlines()
    with Dashboard(fresh()) as dashboard:
        place = Place(tmp_path, dashboard)
        log = tmp_path / "log"
        with place.running(log):
            wait_until(lambda: "(generation 1)" in log.read_text())
            in_shell(edit, tmp_path)
            program, *words = shlex.split(command)
            said = place.govern(*words)
    assert program == "capital-governor"
    assert (said.returncode, said.stdout) == (0, shown)


def test_the_commands_of_the_start_as_shown(tmp_path: Path) -> None:
    """README's four commands start a governor in the background, show it, follow its log and end it."""
    (shown,) = [snippet for snippet in shell("README", "Start") if "start" in snippet]
    start, status, logs, stop = [shlex.split(line, comments=True)[1:] for line in shown.splitlines()]
    site = Site(tmp_path)
    site.govern("echo governing; exec sleep 1000")
    try:
        assert site.run(*start).code == 0
        wait_until(lambda: "governing" in site.log("capital_governor"))
        said = site.run(*status)
        assert said.code == 0
        assert "capital_governor" in said.out
        with site.started(*logs) as following:
            assert following.stdout is not None
            assert any("governing" in line for line in following.stdout)
        assert site.run(*stop).code == 0
        assert site.processes() == {}
    finally:
        site.clear()


def test_the_unit_for_systemd() -> None:
    """The manual's unit starts `run` on its root, reloads by SIGHUP, and gives up where a person must act."""
    (shown,) = blocks(section("supervising", "systemd"), "ini")
    lines = dict(line.split("=", maxsplit=1) for line in shown.splitlines() if "=" in line)
    _, _, module, name, *arguments = shlex.split(lines["ExecStart"])
    assert (module, name) == ("-m", "capital_governor")
    given = make_parser().parse_args(arguments)
    assert (given.function, given.root, given.dry_run) == ("run_command:run", Path("/srv/neolight"), False)
    assert lines["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert set(map(int, lines["RestartPreventExitStatus"].split())) == {exit_codes.USAGE, exit_codes.CONFIGURATION}


def test_the_settings_for_telegram(tmp_path: Path) -> None:
    """The manual's two lines of .env are a token, which is cut short there, and a chat."""
    (shown,) = [snippet for snippet in shell("operating", "Telegram in five steps") if "TOKEN" in snippet]
    (tmp_path / ".env").write_text("".join(f"{line.strip()}\n" for line in shown.replace("...", "0" * 30).splitlines()))
    settings = load(tmp_path, {})
    assert settings.telegram_bot_token is not None
    assert settings.telegram_chat_id == "-1001234567890"


def test_the_agents_of_the_supervisor_as_shown(tmp_path: Path) -> None:
    """The manual's .agents.sh starts both agents in the root, with their variables, into their logs."""
    shown = blocks(after("Your own agents go into `.agents.sh`"), "bash")[0]
    site = Site(tmp_path)
    for name in ("trader/smart_trader.py", "agents/bridge.py"):
        agent = site.root / name
        agent.parent.mkdir()
        agent.write_text("import os, time\nprint(os.environ.get('MODE'), os.getcwd(), flush=True)\ntime.sleep(1000)\n")
    (site.project / ".agents.sh").write_text(shown)
    try:
        assert site.run("start").code == 0
        assert wait_until(lambda: site.log("smart_trader")) == f"None {site.root}\n"
        assert wait_until(lambda: site.log("weights_bridge")) == f"paper {site.root}\n"
        assert site.run("stop").code == 0
        assert site.processes() == {}
    finally:
        site.clear()


STARTS_IT: Final = ('"$SHELL" -c "$2" >>"$3" 2>&1 &', '$2 >>"$3" 2>&1 &', 'eval "$2" >>"$3" 2>&1 &')


def matching(line: str) -> set[int]:
    """The pids that a line with `pgrep -f` prints; without a pgrep here, those whose command line has its pattern."""
    if shutil.which("pgrep"):
        return set(map(int, subprocess.check_output(["/bin/sh", "-c", f"exec {line}"]).split()))
    *_, pattern = shlex.split(line)
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            if re.search(pattern, entry.read_text().replace("\0", " ")):
                found.add(int(entry.parent.name))
    return found


@pytest.mark.parametrize("starts_it", STARTS_IT)
def test_the_governor_under_a_supervisor_of_another_program(tmp_path: Path, starts_it: str) -> None:
    """The manual's lines start it in a root with blanks, among modules of another program, and pgrep finds it so."""
    lines, pgrep = shell("supervising", "NeoLight's supervisor")
    home = tmp_path / "of the site"
    home.mkdir()
    site = Site(home, plain=True)
    site.govern(None)
    (tmp_path / "capital-governor").symlink_to(site.project)
    for name in ("telegram", "platform", "logging"):
        (site.root / f"{name}.py").write_text("x = 1\n")
    (site.root / "logs").mkdir()
    environment = site.environment() | {"HOME": str(tmp_path), "PYTHONPATH": str(site.root), "SHELL": "/bin/bash"}
    del environment["NEOLIGHT_ROOT"]
    script = f"ensure_running() {{ {starts_it} }}; ROOT='{site.root}'\n{lines}"
    try:
        subprocess.run(["/bin/bash", "-eu", "-c", script], env=environment, timeout=PATIENCE_SECONDS, check=True)
        wait_until(lambda: "Config:" in site.log("capital_governor"))
        (governor,) = site.running(f"{sys.executable} -I -m capital_governor run")
        assert governor in matching(pgrep)
    finally:
        site.clear()


def test_the_line_for_a_supervisor(tmp_path: Path) -> None:
    """The manual's ``ensure_running`` line gives a name, a command that this script takes, and a log file."""
    line = blocks(section("supervising", "NeoLight's supervisor"), "sh")[0]
    script = f'ensure_running() {{ printf "%s\\n" "$@"; }}; HOME=/home/me; ROOT={tmp_path}\n{line}'
    bash = ["/usr/bin/env", "bash", "-eu", "-c", script]
    ran = subprocess.run(bash, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    name, command, log = ran.stdout.splitlines()
    program, *arguments = command.split()
    assert (name, log) == ("capital_governor", f"{tmp_path}/logs/capital_governor.log")
    assert (REPOSITORY / Path(program).name).exists()
    given = make_parser().parse_args(arguments)
    assert (given.function, given.root, given.dry_run) == ("run_command:run", None, False)


def test_log_is_as_shown(log: str) -> None:
    """The lines of the manual's log come in that order when the same happens."""
    (text,) = blocks(section("operating", "Log"), "log")
    assert len(text.splitlines()) > 20
    said = iter(log.splitlines())
    for shown in text.splitlines():
        line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2025-11-03T22:00:00Z", shown)
        assert line in said, line  # goes on from the line found before
