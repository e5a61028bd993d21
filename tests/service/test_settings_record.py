"""In what the settings of a running governor differ from ``.env``, where a profile is on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from capital_governor.service.settings_record import SettingsRecord, not_in_force, texts_of
from capital_governor.settings.load import load

STEADY: Final = {"CAPITAL_GOVERNOR_PROFILE": "steady"}


def write_env(root: Path, *lines: str) -> None:
    (root / ".env").write_text("".join(f"CAPITAL_GOVERNOR_{line}\n" for line in lines))


def record(root: Path, environ: dict[str, str]) -> SettingsRecord:
    """What a governor records that starts now with this environment."""
    settings = load(root, environ)
    return SettingsRecord(1, "1", 1, "in force", (), texts_of(settings.values(), settings.origins, "s"), "s")


@pytest.mark.parametrize(
    ("environ", "before", "after", "told"),
    [
        ({}, (), ("PROFILE=steady",), ["CAPITAL_GOVERNOR_PROFILE: original in force, steady in .env"]),
        ({}, ("PROFILE=steady",), (), ["CAPITAL_GOVERNOR_PROFILE: steady in force, original (the default) in .env"]),
        (
            {},
            ("PROFILE=steady",),
            ("PROFILE=steady", "COOLDOWN=60"),
            ["CAPITAL_GOVERNOR_COOLDOWN: 21600 in force, 60 in .env"],
        ),
        (
            {},
            ("PROFILE=steady", "COOLDOWN=60"),
            ("PROFILE=steady",),
            ["CAPITAL_GOVERNOR_COOLDOWN: 60 in force, 21600 (the profile) in .env"],
        ),
        ({}, ("PROFILE=steady",), ("PROFILE=steady", "COOLDOWN=21600"), []),
        (STEADY, (), ("COOLDOWN=60",), ["CAPITAL_GOVERNOR_COOLDOWN: 21600 in force, 60 in .env"]),
        (
            STEADY,
            ("COOLDOWN=60",),
            (),
            ["CAPITAL_GOVERNOR_COOLDOWN: 60 in force, 21600 (the profile) in .env"],
        ),
        (STEADY, (), ("PROFILE=original",), []),
    ],
)
def test_a_profile_and_what_beats_it(
    tmp_path: Path, environ: dict[str, str], before: tuple[str, ...], after: tuple[str, ...], told: list[str]
) -> None:
    """The profile is told, not each value that it sets; a value of its own in .env is, also if it comes or goes."""
    write_env(tmp_path, *before)
    running = record(tmp_path, environ)
    assert not_in_force(running, tmp_path) == ()
    write_env(tmp_path, *after)
    assert list(not_in_force(running, tmp_path)) == told
