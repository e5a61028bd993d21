"""From the command line to a running governor: settings, logs, exit codes."""

from __future__ import annotations

from pathlib import Path

from capital_governor.adapters import logs
from capital_governor.adapters.paths import Paths
from capital_governor.cli.failures import explained
from capital_governor.service import daemon
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings, SettingsError, load


def govern(root: Path | None, *, dry_run: bool = False) -> int:
    """Govern until a signal ends it; return the exit code. Raises SystemExit where it cannot start."""
    with explained():
        settings = _load(root, dry_run=dry_run)
        return daemon.run(settings, log_to(settings, background=True), dry_run=dry_run)


def govern_once(root: Path | None) -> tuple[Settings, Outcome]:
    """Take one tick for good and return what came of it. Raises SystemExit where it cannot start, or was ended."""
    with explained():
        settings = _load(root)
        return settings, daemon.once(settings, log_to(settings, background=True))


def log_to(settings: Settings, *, background: bool = False) -> logs.Sink:
    """Set up the logs as the settings say, also for what nothing catches, and return their sink.

    With ``background`` no reader of them can stop this process: for what holds the root's lock.
    """
    sink = daemon.log_to(settings, background=background)
    logs.catch_uncaught()
    return sink


def _load(root: Path | None, *, dry_run: bool = False) -> Settings:
    """Return the settings of a governor that can write its files. Raises SettingsError."""
    settings = load(root)
    if problem := Paths(settings.root, dry_run).unwritable():
        raise SettingsError((problem,))
    return settings
