"""Reads and checks the settings: from the environment, else ``.env`` in the root, else the profile, else the default.

Other programs share ``.env``, so their variables are ignored. An unknown ``CAPITAL_GOVERNOR_*`` is refused, since a
misspelt limit would silently have no effect. ``${...}`` and ``$(...)`` are not expanded. An empty value counts as not
set. Standard library and python-dotenv only, so that quick commands need nothing else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from capital_governor.core.model import Rules
from capital_governor.settings.dotenv import read_env_file
from capital_governor.settings.faults import (
    SettingsError,
    conflicts,
    refused_root,
    refused_value,
    secret_texts,
    unknown,
)
from capital_governor.settings.fleet_name import fleet_name
from capital_governor.settings.profiles import PROFILES
from capital_governor.settings.variables import PREFIX, ROOT, VARIABLES, variables


@dataclass(frozen=True, slots=True)
class Found:
    """The settings of all sources.

    Args:
        values: by field; the default if a variable is not set or its value is refused.
        origins: by variable that has no default value: "argument", "environment", ".env", "current folder" or
            "profile".
        root_faults: what is wrong with the root.
        journal_faults: what is wrong with the journal's name.
        faults: everything that is wrong, these included.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    root_faults: tuple[str, ...]
    journal_faults: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """What a command that only reads or gives an order needs: root, journal, times and rules.

    Other wrong settings must not keep an operator from controlling a running governor, so they are only in ``faults``.

    Args:
        root: the folder.
        journal_path: the journal.
        fleet_name: which fleet this is, for those who have several.
        faults: what is wrong; then the values below are partly defaults.
        interval_seconds: between two cycles.
        fetch_deadline_seconds: longest time for one fetch in a cycle.
        rules: of a decision, but for MAX_AGE, which is the default here.
    """

    root: Path
    journal_path: Path
    fleet_name: str
    faults: tuple[str, ...]
    interval_seconds: float
    fetch_deadline_seconds: float
    rules: Rules


def find(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Found:
    """Read and check all sources.

    Args:
        root: the ``--root`` argument; without it NEOLIGHT_ROOT of the environment, else the current folder.
        environ: the environment; None is that of the process.

    Raises:
        SettingsError: the root is the current folder, which has been deleted.
    """
    environ = os.environ if environ is None else environ
    folder, origin = _root(root, environ)
    dotenv, unread = read_env_file(folder / ".env", set(variables()) - {ROOT}, PREFIX)
    sources = {"environment": environ, ".env": dotenv}
    known = set(variables())
    strangers = [
        unknown(name, source)
        for source, given in sources.items()
        for name in sorted(name for name in given if name.upper().startswith(PREFIX) and name not in known)
    ]
    problem = check_root(folder)
    of_root = () if problem is None else (refused_root(str(folder), origin, problem),)
    values: dict[str, Any] = {"root": folder}
    origins, refused = {ROOT: origin}, {}
    secrets = secret_texts(
        given.get(each.name, "") for given in sources.values() for each in VARIABLES.values() if each.secret
    )
    for field, variable in VARIABLES.items():
        if field == "root":
            continue
        values[field] = variable.default
        source = next((source for source, given in sources.items() if given.get(variable.name)), None)
        if source is None:
            continue
        text = sources[source][variable.name]
        try:
            values[field] = variable.kind.read(text)
            origins[variable.name] = source
        except ValueError as error:
            refused[field] = refused_value(field, text, source, str(error), secrets)
    for field, value in PROFILES[values["profile"]].items():
        if VARIABLES[field].name not in origins and field not in refused:
            values[field], origins[VARIABLES[field].name] = value, "profile"
    faults = (*of_root, *unread, *strangers, *refused.values(), *conflicts(values, refused))
    return Found(values, origins, of_root, tuple(refused[field] for field in refused if field == "journal"), faults)


def find_place(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Place:
    """Return root and journal, and what else is wrong. The arguments are those of ``find``.

    Raises:
        SettingsError: the root or the journal's name is wrong.
    """
    found = find(root, environ)
    if unusable := found.root_faults or found.journal_faults:
        raise SettingsError(unusable)
    folder, values = found.values["root"], found.values
    return Place(
        root=folder,
        journal_path=folder / values["journal"],
        fleet_name=fleet_name(values["name"], folder),
        faults=found.faults,
        interval_seconds=values["interval_seconds"],
        fetch_deadline_seconds=values["fetch_deadline_seconds"],
        rules=Rules(**{rule.name: values[rule.name] for rule in fields(Rules) if rule.name in values}),
    )


def check_root(root: Path) -> str | None:
    """Return what is wrong with the root folder, in one clause without its name; None if it is a folder.

    It need not be writable: some commands only read, and others write to folders below it.
    """
    try:
        return None if stat.S_ISDIR(root.stat().st_mode) else "is not a folder"
    except (OSError, ValueError) as error:
        return f"is not a folder ({getattr(error, 'strerror', None) or 'not a path'})"


def _root(argument: Path | None, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Return the absolute root and its origin."""
    given, origin = (argument, "argument") if argument is not None else (environ.get(ROOT) or None, "environment")
    try:
        return Path(given or "").absolute(), origin if given is not None else "current folder"
    except FileNotFoundError:
        raise SettingsError((f"the current folder is gone; set {ROOT} or give --root",)) from None
