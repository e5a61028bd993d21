"""What the manual shows to those without NeoLight: state files, reports of agents, and the first five minutes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from capital_governor.contracts.payload import parse
from capital_governor.core.model import Snapshot
from capital_governor.hive.metrics import payload
from capital_governor.hive.reported_decisions import ReportedDecisions
from capital_governor.hive.state_files import read_all
from tests.manual.pages import PAGES, blocks, section, shell
from tests.manual.program import SHOWN_ROOT, SPAN, in_shell
from tests.rigs.hive_server import free_port
from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.supervised import Site

NOW: Final = datetime.fromisoformat("2025-11-03T22:00:00Z").timestamp()
"""The time at which the manual's state files are read."""


def put_state_files(root: Path) -> set[str]:
    """Write each file of the section as it is shown; return their names."""
    text = section("dashboard", "The state files")
    shown = dict(zip(re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL), _names(text), strict=True))
    for content, name in shown.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return set(shown.values())


def _names(text: str) -> list[str]:
    """The files' names in the order of the blocks: each begins a paragraph, and two share the last one."""
    return re.findall(r"(?:^|and )`((?:state|runtime)/[\w.-]+(?:/[\w.-]+)?)`", text, re.MULTILINE)


def read(root: Path) -> dict[str, Any]:
    return payload(read_all(root), NOW, 100_000.0, reported=ReportedDecisions(root).read(NOW, {}))


def test_the_state_files_that_are_shown_are_what_is_read(tmp_path: Path) -> None:
    """Every file that the hive reads is shown once; its values are in the payload, and the governor takes it."""
    names = put_state_files(tmp_path)
    whole = read(tmp_path)
    decisions = {name for name in names if name.startswith("state/decisions/")}
    assert len(decisions) == 1
    assert names - decisions == whole["sources"].keys() - {"state/decisions"}
    assert set(whole["sources"].values()) == {"read"}
    assert whole["warnings"] == []
    smart, news = whole["per_agent"]["SmartTrader"], whole["per_agent"]["NewsBot"]
    assert (smart["pnl_1d"], smart["pnl_7d"], smart["winrate_30d"], smart["total_decisions"]) == (12.5, 8.5, 0.5, 3)
    assert (smart["revenue_24h"], smart["revenue_total"]) == (50.0, 350.0)
    assert (news["pnl_1d"], news["pnl_7d"], news["winrate_30d"], news["total_decisions"]) == (-8.5, 22.75, 0.5, 2)
    assert whole["per_strategy"]["pairs_trading"]["sharpe_30d"] == 1.8
    assert whole["market_regime"]["risk_multiplier"] == 0.8
    assert whole["guardian"]["is_paused"] is True
    assert whole["guardian"]["reason"] == "Auto rate-limit cooldown"
    snapshot = parse(json.dumps(whole, allow_nan=False).encode())
    assert isinstance(snapshot, Snapshot)
    assert snapshot.metrics.keys() == {"SmartTrader", "NewsBot"}


def test_only_the_decisions_are_needed_from_one_of_two_sources(tmp_path: Path) -> None:
    """As the manual says, either file of decisions alone is enough for metrics."""
    for source, agents in (
        ("state/performance_attribution.json", {"SmartTrader"}),
        ("state/decisions/NewsBot.2025-11.jsonl", {"NewsBot"}),
    ):
        root = tmp_path / next(iter(agents))
        root.mkdir()
        for name in put_state_files(root) - {source}:
            (root / name).unlink()
        assert read(root)["per_agent"].keys() == agents


def test_reporting_as_shown(tmp_path: Path) -> None:
    """The manual's three ways to report a trade each make the hive know it; the first prints what is wrong."""
    (code,) = [code for code in blocks(section("agents", "Report decisions"), "python") if "record(" in code]
    module, echo = shell("agents", "Report decisions")
    program = [sys.executable, "-c", code.replace(SHOWN_ROOT, str(tmp_path))]
    refused = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)
    assert refused.stdout.startswith("the decision of SmartTrader is not recorded: ")
    (tmp_path / "state").mkdir()
    assert subprocess.run(program, capture_output=True, timeout=PATIENCE_SECONDS, check=True).stdout == b""
    for snippet in (module, echo):
        assert in_shell(snippet.replace(SHOWN_ROOT, str(tmp_path)), tmp_path) == ""
    reported = ReportedDecisions(tmp_path).read(time.time(), {})
    assert [(each.agent, each.pnl) for each in reported.past.left] == [("SmartTrader", 12.5)] * 3
    assert (reported.warnings, reported.faults) == ((), {})
    assert (tmp_path / "state" / "decisions" / "SmartTrader.jsonl").exists()


def as_status(output: str) -> str:
    """What ``status`` prints, as the manual shows it: 20 s after the start, at ten o'clock."""
    for pattern, then in (
        (rf"{SPAN} ago", "20 s ago"),
        (r"process \d+", "process 4711"),
        (r"since \d\d:\d\d UTC", "since 22:00 UTC"),
        (rf"\(for {SPAN}\)", "(for 20 s)"),
        (r"^fleet .*", "fleet      host/fleet, root /home/me/fleet"),
        (r" +$", ""),
    ):
        output = re.sub(pattern, then, output, flags=re.MULTILINE)
    return output


def test_a_fleet_of_your_own(tmp_path: Path) -> None:
    """Every command of the five minutes, from an empty folder on: the first allocation is the one that is shown.

    README_REFRESH=1 in the environment puts what ``status`` says now into the manual.
    """
    title = "A fleet of your own in five minutes"
    settings, trades, start = shell("dashboard", title)
    (code,), (shown,) = blocks(section("dashboard", title), "python"), blocks(section("dashboard", title), "text")
    site = Site(tmp_path)
    site.govern(None)
    (tmp_path / "capital-governor").symlink_to(site.project)
    environment = site.environment() | {"NEOLIGHT_DASHBOARD_URL": f"http://localhost:{free_port()}"}
    del environment["NEOLIGHT_ROOT"]
    fleet = tmp_path / "fleet"
    status = fleet / "runtime" / "capital_governor_status.json"
    assert start.count("sleep 30\n") == 1
    waiting = f"until grep -qs '\"generation\": *1' {status}; do sleep 0.2; done\n"

    def bash(snippet: str) -> str:
        command = ["/bin/bash", "-euo", "pipefail", "-c", snippet]
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        return ran.stdout

    try:
        said = bash(settings + trades + start.replace("sleep 30\n", waiting))
        status_now = as_status(said[said.index("Running, ") :])
        said = bash(f"{settings}./neo_light_fix.sh stop 2>&1")
        assert "stopped" in said
    finally:
        site.clear()
    if os.environ.get("README_REFRESH"):
        PAGES["dashboard"].write_text(PAGES["dashboard"].read_text().replace(shown, status_now))
    else:
        assert shown == status_now
    program = f"equity = 20_000\n{code.replace('/home/me/fleet', str(fleet))}\nprint(capital)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert ran.stdout == "8000.0\n"
    reported = ReportedDecisions(fleet).read(time.time(), {})
    assert [each.pnl for each in reported.past.left if each.agent == "GridBot"] == [60.0, 40.0, 55.0, 12.5]
