"""The messages about settings that were read again, whole, as the phone shows them."""

from __future__ import annotations

from capital_governor.wording.message_form import Sender
from capital_governor.wording.settings_texts import settings_changed_text, settings_refused_text

AT = 1_762_207_500.0
SENDER = Sender("night fleet", "/srv/fleet", "/srv/neo_light_fix.sh", "--root /srv/fleet")


def test_settings_that_count_now() -> None:
    """Each change, what it does to capital, and the way back for whoever did not mean it."""
    changes = ("CAPITAL_GOVERNOR_MAX_ALLOC: 0.4 -> 0.6", "CAPITAL_GOVERNOR_THRESHOLD: 0.1 -> 0.2")
    assert settings_changed_text(changes, SENDER, AT).splitlines() == [
        "🔧 night fleet · 2025-11-03 22:05 UTC",
        "2 settings changed:",
        "CAPITAL_GOVERNOR_MAX_ALLOC: 0.4 -> 0.6",
        "CAPITAL_GOVERNOR_THRESHOLD: 0.1 -> 0.2",
        "They count from the next cycle on. Shares move only if that cycle decides so.",
        "No action needed if this was you. Otherwise correct .env, then:",
        "/srv/neo_light_fix.sh reload --root /srv/fleet",
    ]


def test_settings_that_are_refused() -> None:
    """What is wrong, and that the old ones are in force."""
    assert settings_refused_text(("THRESHOLD=nan is not a number",), SENDER, AT).splitlines() == [
        "⚠️ night fleet · 2025-11-03 22:05 UTC",
        ".env is wrong (1 problem): no setting was changed.",
        "THRESHOLD=nan is not a number",
        "The governor goes on with the settings that it had. A restart would fail until .env is right.",
        "Act: correct .env, then:",
        "/srv/neo_light_fix.sh reload --root /srv/fleet",
    ]


def test_a_long_list_is_cut() -> None:
    """Twenty lines at most, and how many more there are."""
    text = settings_changed_text([f"SETTING_{number}: 0 -> 1" for number in range(23)], SENDER, AT)
    assert "SETTING_19: 0 -> 1\n... and 3 more\nThey count" in text
