"""Which hosts are this machine itself."""

from __future__ import annotations

import pytest

from capital_governor.adapters.loopback import is_loopback


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "dash.localhost", "127.0.0.1", "127.9.9.9", "127.1", "::1", "::ffff:127.0.0.1"]
)
def test_this_machine(host: str) -> None:
    """Names and addresses of this machine itself are told from those of others."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "localhost.example.com", "128.0.0.1", "10.0.0.1", "::2", "fe80::1%lo", "127.example.com"]
)
def test_another_machine(host: str) -> None:
    """Whatever leaves this machine is not taken for loopback."""
    assert not is_loopback(host)
