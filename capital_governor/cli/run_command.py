"""``run``: the governor, until a signal ends it; with the set-up of settings and logs that ``once`` uses too."""

from __future__ import annotations

from pathlib import Path

from capital_governor.adapters import logs
from capital_governor.adapters.log_output import Sink
from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.service import daemon
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import Settings, load


def run(root: Path | None, *, dry_run: bool = False) -> int:
    """Govern until a signal ends it; return the exit code. Raises SystemExit if it cannot start."""
    with explained():
        settings = load_to_govern(root, dry_run=dry_run)
        return daemon.govern(settings, set_up_logs(settings, background=True), dry_run=dry_run)


def set_up_logs(settings: Settings, *, background: bool = False) -> Sink:
    """Set up the logs as the settings say, also for uncaught exceptions, and return their sink.

    With ``background`` they are written on a thread, so that a stalled reader does not stop the holder of the lock.
    """
    sink = daemon.open_log_sink(settings, background=background)
    logs.catch_uncaught()
    return sink


def load_to_govern(root: Path | None, *, dry_run: bool = False) -> Settings:
    """Return the settings of a governor that can write its files. Raises SettingsError."""
    settings = load(root)
    if problem := Paths(settings.root, dry_run).unwritable():
        raise SettingsError((problem,))
    return settings
