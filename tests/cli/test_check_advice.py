"""What ``check`` recommends for real money, and where ``show-config`` says that a setting is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigs.commands import call
from tests.rigs.dashboard import Dashboard

pytestmark = pytest.mark.usefixtures("loaded")
ADVICE = "no brake is on; with real money, set CAPITAL_GOVERNOR_PROFILE=steady"


@pytest.mark.parametrize(
    ("own", "advice"),
    [
        ({}, ADVICE),
        ({"PROFILE": "original", "PROBATION": "288"}, ADVICE),
        ({"COOLDOWN": "1h"}, ""),
        ({"CONFIRM_CYCLES": "2"}, ""),
        ({"MAX_STEP": "0.15"}, ""),
        ({"PROFILE": "steady"}, ""),
        ({"PROFILE": "steady", "COOLDOWN": "0", "CONFIRM_CYCLES": "1"}, ""),
    ],
)
def test_brakes_are_recommended_where_none_is_on(tmp_path: Path, own: dict[str, str], advice: str) -> None:
    """Unless the profile is chosen, since its values were then set otherwise on purpose."""
    env = {f"CAPITAL_GOVERNOR_{name}": value for name, value in own.items()}
    with Dashboard() as dashboard:
        said, document = (call(tmp_path, "check", *more, url=dashboard.url, env=env) for more in ((), ("--json",)))
    assert document.json["advice"] == advice
    assert (f"advice     {ADVICE}" in said.out) == bool(advice)


def test_show_config_says_what_the_profile_sets(tmp_path: Path) -> None:
    """For people and as JSON; a value in .env or in the environment beats it."""
    (tmp_path / ".env").write_text("CAPITAL_GOVERNOR_PROFILE=steady\nCAPITAL_GOVERNOR_CONFIRM_CYCLES=3\n")
    env = {"CAPITAL_GOVERNOR_PROBATION": "1"}
    said, document = (call(tmp_path, "show-config", *more, env=env) for more in ((), ("--json",)))
    wanted = {
        "PROFILE": ("steady", ".env"),
        "COOLDOWN": ("21600", "profile"),
        "CONFIRM_CYCLES": ("3", ".env"),
        "PROBATION": ("1", "environment"),
        "MAX_STEP": ("1", "default"),
    }
    rows = {words[0]: (words[1], words[-1]) for words in map(str.split, said.out.splitlines()) if len(words) > 2}
    for name, (value, origin) in wanted.items():
        assert document.json[f"CAPITAL_GOVERNOR_{name}"] == {"value": value, "from": origin}
        assert rows[f"CAPITAL_GOVERNOR_{name}"] == (value, origin)


def test_an_unknown_profile_is_named_with_those_that_exist(tmp_path: Path) -> None:
    """It is a wrong setting as any other."""
    said = call(tmp_path, "show-config", env={"CAPITAL_GOVERNOR_PROFILE": "nonsense"})
    assert said.code == 78
    assert said.err == (
        "capital-governor: CAPITAL_GOVERNOR_PROFILE=nonsense (environment) is not one of its values; "
        "it takes original or steady\n"
    )
