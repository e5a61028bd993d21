"""``hive``: a dashboard's /meta/metrics from the root's state files."""

from __future__ import annotations

from pathlib import Path

from capital_governor.cli.failures import explained
from capital_governor.cli.output import fail
from capital_governor.contracts.exit_codes import CONFIGURATION, OK
from capital_governor.hive.server import HiveError, serve
from capital_governor.service.daemon import leave
from capital_governor.settings.load import load


def hive(root: Path | None) -> int:
    """Serve /meta/metrics until SIGTERM or SIGINT. Raises SystemExit 78 if the port is taken."""
    with explained():
        settings = load(root)
    try:
        serve(settings.root, settings.dashboard_url, settings.hive_capital)
    except HiveError as error:
        fail(CONFIGURATION, f"hive: {error}")
    return leave(OK)
