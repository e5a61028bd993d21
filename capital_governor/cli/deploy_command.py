"""``deploy``: prints a template for a program that keeps the governor running."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from capital_governor.cli.deploy.systemd_unit import owner, systemd_unit
from capital_governor.cli.failures import explained
from capital_governor.cli.output import fail, warn, write_stdout
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.contracts.text import clean
from capital_governor.settings.load import Settings, load
from capital_governor.settings.variables import ROOT

TEMPLATES: Final[Mapping[str, Callable[[Settings, Path], str]]] = {"systemd": systemd_unit}
"""By name, what makes the template from the settings and the Python in use."""


def deploy(template: str, root: Path | None) -> int:
    """Print a template for this root and this program; return 2 if there is none of this name."""
    if template not in TEMPLATES:
        known = " or ".join(TEMPLATES)
        fail(USAGE, f"deploy: there is no template {clean(template, 40)!r}: give {known}")
    with explained():
        settings = load(root)
        user, made = owner(settings.root), TEMPLATES[template](settings, Path(sys.executable))
    for name, origin in settings.origins.items():
        if origin == "environment" and name != ROOT:
            warn(f"{name} is set in this shell only: put it into {settings.root}/.env, which is all that a service has")
    if user == "root":
        warn(f"{settings.root} belongs to root, and so the service would run as root: give it to a user of its own")
    write_stdout(made)
    return OK
