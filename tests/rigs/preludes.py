"""Lines of Python that go before the program, for ``python -c``: what makes it patient, watched or stuck."""

from __future__ import annotations

from typing import Final

from tests.rigs.patience import PATIENCE_SECONDS

MAIN: Final = "\nfrom capital_governor.__main__ import main\nmain()\n"
"""The program itself, for ``python -c``, where something else goes before it."""

PATIENT_FLUSH: Final = f"""
from capital_governor.adapters.line_writer import LineWriter
LineWriter.flush.__defaults__ = ({PATIENCE_SECONDS},)
"""
"""What goes before the program so that its last lines are written on a busy machine too, where its log takes them."""

RECORDS_BEATS: Final = """
import sys
from capital_governor.service import daemon
following = daemon.schedule
def schedule(start, interval, now):
    wake = following(start, interval, now)
    with open(sys.argv[3] + ".beats", "a") as book:
        book.write(f"{start!r} {now!r} {wake!r}\\n")
    return wake
daemon.schedule = schedule
"""
"""What goes before the program so that it notes each wait for a beat."""

PATIENT_END: Final = f"""
from capital_governor.service import governor
governor.GRACE_SECONDS = {PATIENCE_SECONDS}
"""
"""What goes before the program where the end has to be complete, as it may not be in time on a busy machine."""

LOOKUP_HANGS: Final = """
import socket, sys, time
real = socket.getaddrinfo
def getaddrinfo(host, *rest, **named):
    if "hangs" in str(host):  # text or bytes
        print("FAULT look-up", file=sys.stderr, flush=True)
        time.sleep(1_000_000)
    return real(host, *rest, **named)
socket.getaddrinfo = getaddrinfo
"""

DISK_HANGS: Final = """
import os, pathlib, sys, time
real, flag = os.fsync, pathlib.Path(sys.argv[3], "hang")
def fsync(descriptor):
    if flag.exists():
        print("FAULT disk", file=sys.stderr, flush=True)
        time.sleep(1_000_000)
    return real(descriptor)
os.fsync = fsync
"""

IMPATIENT_JOURNAL: Final = """
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
open_sqlite.__kwdefaults__["busy_seconds"] = 0.1
"""
"""What goes before the program where another one locks the journal: a cycle does not wait for it for long."""

OPENING_HANGS: Final = """
import sqlite3, sys, time
def connect(*_, **__):
    print("FAULT journal", file=sys.stderr, flush=True)
    time.sleep(1_000_000)
sqlite3.connect = connect
"""
