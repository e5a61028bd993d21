"""``CAPITAL_GOVERNOR_GROUPS``: what it may say, and in which words it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.core.model import Group
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.group_list import groups_text
from capital_governor.settings.kinds import GROUPS
from capital_governor.settings.load import load

TAKES = "it takes groups with caps from 0 to 1, such as crypto=0.5:CryptoTrend,Grid*; sports=0.2:Sports*"
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True)
PATTERNS = st.from_regex(r"[A-Za-z0-9*?][A-Za-z0-9_.:*?-]{0,8}", fullmatch=True)
CAPS = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
LISTS = st.lists(
    st.builds(Group, NAMES, CAPS, st.lists(PATTERNS, min_size=1, max_size=4).map(tuple)),
    max_size=5,
    unique_by=lambda group: group.name.casefold(),
).map(tuple)


@given(LISTS.filter(bool))
def test_groups_are_read_as_they_are_written(groups: tuple[Group, ...]) -> None:
    """What `show-config` shows of any groups is taken as the setting, and means the same groups."""
    assert GROUPS.read(groups_text(groups)) == groups
    assert GROUPS.read(groups) == groups


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("crypto", "has group 1 not in the form NAME=CAP:AGENT,AGENT"),
        ("crypto=0.5", "has group 1 not in the form NAME=CAP:AGENT,AGENT"),
        ("crypto:0.5:Ada", "has group 1 not in the form NAME=CAP:AGENT,AGENT"),
        ("a=0.5:Ada=0.2", "has group 1 not in the form NAME=CAP:AGENT,AGENT"),
        ("a=0.5:Ada;", "has nothing where group 2 should be: remove the ; that is too many"),
        ("a=0.5:Ada;;b=0.1:Bob", "has nothing where group 2 should be: remove the ; that is too many"),
        ("=0.5:Ada", "has group 1 with a name that is not 1 to 32 of A-Z a-z 0-9 _ . -"),
        ("a b=0.5:Ada", "has group 1 with a name that is not 1 to 32 of A-Z a-z 0-9 _ . -"),
        ("a=1.01:Ada", "has group 1 with a cap that is not a number from 0 to 1"),
        ("a=0.5:Ada; b=-0.1:Bob", "has group 2 with a cap that is not a number from 0 to 1"),
        ("a=nan:Ada", "has group 1 with a cap that is not a number from 0 to 1"),
        ("a=50%:Ada", "has group 1 with a cap that is not a number from 0 to 1"),
        ("a=:Ada", "has group 1 with a cap that is not a number from 0 to 1"),
        ("a=0.5:Ada; b=0.1:Bob; A=0.2:Cyd", "has group 3 with the name of group 1"),
        ("a=0.5:", "has group 1 without an agent"),
        ("a=0.5: , ", "has group 1 without an agent"),
        ("a=0.5:Ada,,Bob", "has group 1 whose entry 2 cannot be an agent's name or a glob of names"),
        ("a=0.5:Ada/Bob", "has group 1 whose entry 1 cannot be an agent's name or a glob of names"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """One line names the variable, its value, which group is wrong and how, and what the setting takes."""
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, {"CAPITAL_GOVERNOR_GROUPS": text})
    shown = text if text == text.strip() else repr(text)
    assert refused.value.faults == (f"CAPITAL_GOVERNOR_GROUPS={shown} (environment) {problem}; {TAKES}",)


def test_shown_as_set(tmp_path: Path) -> None:
    """`show-config` shows the groups in the form in which they are set."""
    text = "crypto=0.5:CryptoTrend,Grid*; sports=0.2:Sports*"
    assert load(tmp_path, {"CAPITAL_GOVERNOR_GROUPS": text}).masked()["CAPITAL_GOVERNOR_GROUPS"] == text
