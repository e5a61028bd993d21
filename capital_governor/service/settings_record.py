"""The settings that a running governor uses, in a private file in runtime/, for ``status`` and ``reload``.

A secret is in it as a salted digest, which shows only whether another one is set now. Of the settings of the process's
own environment, which another command cannot see, only the names matter: they beat ``.env``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.atomic_replacement import replace
from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.permissions import PRIVATE, hand_over
from capital_governor.adapters.process_identity import start_of
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.sources import find
from capital_governor.settings.value_text import value_text
from capital_governor.settings.variables import VARIABLES

ENV_FILE: Final = ".env"
PROFILE: Final = "profile"
DEFAULT: Final = "default"
_PROFILE_VARIABLE: Final = VARIABLES["profile"].name


@dataclass(frozen=True, slots=True)
class SettingsRecord:
    """What a governor has found when it last read its settings.

    Args:
        pid: of the governor.
        started: when that process began, see ``process_identity``.
        reads: how often it has read them; the first is the start.
        outcome: "in force", "accepted" (not yet in force), "waits" (for the journal), "same" or "refused".
        lines: what has changed, or what is wrong.
        settings: in force, by variable: text (secrets hidden), origin, and the digest of a secret.
        salt: of the digests.
    """

    pid: int
    started: str
    reads: int
    outcome: str
    lines: tuple[str, ...]
    settings: Mapping[str, tuple[str, str, str]]
    salt: str

    def write(self, path: Path) -> None:
        """Replace the file at ``path``, which only its owner can read. Raises OSError."""
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE))
            hand_over(path)
        replace(path, json.dumps(asdict(self), indent=1).encode(), durable=False)


def record_path(folder: Path) -> Path:
    """Return the file in ``folder``, which has the status file too."""
    return folder / "capital_governor_settings.json"


def read_record(path: Path) -> SettingsRecord | None:
    """Return what a process that still runs has recorded at ``path``; None if there is none, or it is not readable."""
    try:
        content = read_bounded(path)
        found = SettingsRecord(**json.loads(content or b""))
        alive = bool(found.started) and start_of(found.pid) == found.started
    except (OSError, ValueError, TypeError):
        return None
    return found if alive else None


def texts_of(values: Mapping[str, Any], origins: Mapping[str, str], salt: str) -> dict[str, tuple[str, str, str]]:
    """Return text, origin and digest of each setting, by variable.

    Args:
        values: by field; a secret as plain text.
        origins: by variable; without one it is the default.
        salt: of the digests.
    """
    return {
        variable.name: (
            value_text(field, values[field]),
            origins.get(variable.name, DEFAULT),
            _digest(salt, values[field]) if variable.secret and values[field] is not None else "",
        )
        for field, variable in VARIABLES.items()
    }


def not_in_force(record: SettingsRecord, root: Path) -> tuple[str, ...]:
    """Return in what the governor's settings differ from ``.env`` now: ``VARIABLE: 0.4 in force, 0.5 in .env``.

    A variable that the governor has from its own environment is left out, since that beats ``.env``; so is everything
    if ``.env`` cannot be read. Of what a profile sets, only the profile is told.
    """
    profile, profile_origin, _ = record.settings.get(_PROFILE_VARIABLE, ("", DEFAULT, ""))
    environment = {} if profile_origin in {ENV_FILE, DEFAULT} else {_PROFILE_VARIABLE: profile}
    try:
        found = find(root, environment)
    except SettingsError:
        return ()
    lines = []
    for name, (text, origin, digest) in texts_of(found.values, found.origins, record.salt).items():
        old, old_origin, old_digest = record.settings.get(name, (text, DEFAULT, digest))
        if ENV_FILE not in {origin, old_origin} or old_origin not in {ENV_FILE, PROFILE, DEFAULT}:
            continue
        if (text, digest) != (old, old_digest):
            now = text if origin == ENV_FILE else f"{text} (the {origin})"
            lines.append(f"{name}: {old} in force, {now if text != old else 'another one'} in .env")
    return tuple(lines)


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
