"""The fleet's name in messages."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from capital_governor.settings.fleet_name import fleet_name
from capital_governor.settings.load import load


def test_the_name_that_is_set_is_used(tmp_path: Path) -> None:
    """CAPITAL_GOVERNOR_NAME is the fleet's name in messages."""
    assert load(tmp_path, {"CAPITAL_GOVERNOR_NAME": "Night desk 🌙"}).fleet_name == "Night desk 🌙"


@pytest.mark.parametrize(
    ("folder", "shown"),
    [("neolight", "trader1/neolight"), ("two\nlines", "trader1/two?lines"), ("x" * 80, "trader1/" + "x" * 52)],
)
def test_the_default_is_the_host_and_the_folder(monkeypatch: pytest.MonkeyPatch, folder: str, shown: str) -> None:
    """Without a name, messages have the host without its domain and the root's folder, printable and not too long."""
    monkeypatch.setattr(socket, "gethostname", lambda: "trader1.example.org")
    assert fleet_name(None, Path("/srv") / folder) == shown
