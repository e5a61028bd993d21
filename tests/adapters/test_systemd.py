"""What systemd hears: datagrams on NOTIFY_SOCKET, by path or abstract name, and never a wait."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capital_governor.adapters.systemd import ServiceManager


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """A service manager's socket at what NOTIFY_SOCKET would say."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        listener.settimeout(5)
        yield listener


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Break off what blocks, so that it fails instead of hanging."""

    def late(*_: object) -> None:
        raise AssertionError(f"still waiting after {seconds} s")

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


@pytest.mark.parametrize("abstract", [False, True])
def test_assignments_arrive_as_one_datagram(tmp_path: Path, abstract: bool) -> None:
    """Each message is one datagram of lines, at a path as well as at an abstract name."""
    address = f"@capital-governor-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listening(address) as listener:
        assert ServiceManager(address).notify("WATCHDOG=1", "STATUS=generation 1: fine\nWATCHDOG=trigger") == ""
        assert listener.recv(4096) == b"WATCHDOG=1\nSTATUS=generation 1: fine WATCHDOG=trigger"


def test_without_a_service_manager_nothing_is_sent() -> None:
    """An empty address is nobody, and no failure."""
    assert ServiceManager("").notify("READY=1") == ""


@pytest.mark.parametrize("address", ["/no/such/socket", "@nobody-listens-here", "/" + "x" * 200, "vsock:2:1"])
def test_a_failure_is_returned_and_never_raised(address: str) -> None:
    """A socket that is not there or cannot be one is said in words."""
    assert ServiceManager(address).notify("READY=1").startswith("systemd cannot be notified at NOTIFY_SOCKET: ")


def test_a_full_queue_is_not_waited_for(tmp_path: Path) -> None:
    """While systemd reads nothing, messages fail at once as soon as its queue is full, and arrive again afterwards."""
    address = str(tmp_path / "notify")
    manager = ServiceManager(address)
    with listening(address) as listener, no_longer_than(20):
        sent = 0
        while not (problem := manager.notify("WATCHDOG=1")):
            sent += 1
            assert sent < 100_000
        assert "temporarily unavailable" in problem
        for _ in range(sent):
            assert listener.recv(4096) == b"WATCHDOG=1"
        assert manager.notify("STOPPING=1") == ""
        assert listener.recv(4096) == b"STOPPING=1"
