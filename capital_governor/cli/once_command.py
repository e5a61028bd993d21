"""``once``: one cycle, or with ``--dry-run`` what one would do."""

from __future__ import annotations

from pathlib import Path

from capital_governor.cli.failures import explained
from capital_governor.cli.once_table import once_document, show_once
from capital_governor.cli.output import show_json
from capital_governor.cli.preview import preview, preview_warnings
from capital_governor.cli.run_command import load_to_govern, set_up_logs
from capital_governor.contracts.exit_codes import OK, TEMPORARY
from capital_governor.core.reason import PAYLOAD_HOLDS
from capital_governor.service import daemon
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings, load


def once(root: Path | None, *, dry_run: bool, as_json: bool) -> int:
    """Run one cycle and show it; return 75 without usable metrics, or if something could not be written."""
    settings, outcome = _previewed(root) if dry_run else _taken(root)
    document = once_document(settings.root, outcome, settings.rules(), dry_run=dry_run)
    if dry_run:
        document["warnings"] += preview_warnings(settings)
    show_json(document) if as_json else show_once(document, root)
    hold = outcome.decision.trace.hold
    failed = (
        (hold is not None and hold.reason in PAYLOAD_HOLDS)
        or outcome.files_problem
        or outcome.waiting is not None
        or outcome.journal_problem
    )
    return daemon.leave(TEMPORARY if failed else OK)


def _taken(root: Path | None) -> tuple[Settings, Outcome]:
    """Run a cycle. Raises SystemExit if it cannot start, or was ended."""
    with explained():
        settings = load_to_govern(root)
        return settings, daemon.govern_once(settings, set_up_logs(settings, background=True))


def _previewed(root: Path | None) -> tuple[Settings, Outcome]:
    with explained():
        settings = load(root)
    set_up_logs(settings)
    with explained():
        outcome, _ = preview(settings)
    return settings, outcome
