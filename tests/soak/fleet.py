"""The soak's dashboard: the real hive behind a gateway that can be down, slow or lying, and the fleet that feeds it.

Run as ``python -m tests.soak.fleet SEED``. Orders: ``urls``, of gateway and hive; ``down`` and ``up``; a word of
``MODES`` says how questions are answered from now on; ``swing`` lets the best agents lose and all others win, so that a
move is due; ``feed ROOT`` begins to write the fleet's state files below that root, and ``rest`` ends it; ``counts``
returns what came of the questions to the hive.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.rigs.dashboard import Dashboard
from tests.soak.gateway import HOST, MODES, Gateway, ask
from tests.soak.plant import Beat
from tests.soak.seasons import Seasons, write
from tests.soak.station import Station, obey

WRITE_SECONDS: Final = 0.5


class FleetServer:
    """The gateway and the fleet with their orders; the ports stay the same over all absences."""

    def __init__(self, seed: int) -> None:
        # WeightLimit and never listening, it keeps the port for a hive, which is not always there.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind((HOST, 0))
        self.hive_port: int = self._place.getsockname()[1]
        self.gateway = Gateway(partial(ask, self.hive_port))
        self._seasons = Seasons(seed)
        self._writing = threading.Lock()
        self._root: Path | None = None
        self._beat: Beat | None = None
        self._port = 0
        self._server: Dashboard | None = None
        self._open()

    def act(self, order: str) -> object:
        """Do as told; return what was asked for."""
        word, _, rest = order.partition(" ")
        if word == "down":
            self._shut()
        elif word == "up":
            self._open()
        elif word == "swing":
            self._swing()
        elif word == "feed":
            self._feed(Path(rest))
        elif word == "rest":
            self._rest()
        elif word == "counts":
            return dict(self.gateway.counts)
        elif word in MODES:
            self.gateway.enter(word)
        elif word != "urls":
            raise ValueError(f"no such order: {order}")
        return [f"http://{HOST}:{port}" for port in (self._port, self.hive_port)]

    def close(self) -> None:
        """End all of it."""
        self._rest()
        self._shut()
        self._place.close()

    def _swing(self) -> None:
        with self._writing:
            self._seasons.swing(self.gateway.leaders())
        self._write()  # at once, so that the next answer shows it
        self.gateway.look_again()

    def _feed(self, root: Path) -> None:
        self._root = root
        self._write()
        self._beat = Beat(WRITE_SECONDS, self._write)
        self._beat.start()

    def _rest(self) -> None:
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.end()
        self._root = None

    def _write(self) -> None:
        """Write the state files; on a full disk the next time does."""
        with self._writing:
            if self._root is not None:
                write(self._root, self._seasons.documents(time.time()))

    def _shut(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.__exit__(None, None, None)
            self._server = None

    def _open(self) -> None:
        if self._server is None:
            self._server = Dashboard(self.gateway.serve, port=self._port)
            self._server.__enter__()
            self._port = self._server.port


class FleetStation(Station):
    """The parent's end. Whatever serves a fleet can stand here: it needs the URLs and these orders."""

    def __init__(self, seed: int) -> None:
        super().__init__("tests.soak.fleet", str(seed))
        self.url, self.hive_url = (str(url) for url in self.order("urls"))

    @contextmanager
    def feeding(self, root: Path) -> Iterator[None]:
        """Have the state files below ``root`` written while the block lasts."""
        self.order(f"feed {root}")
        try:
            yield
        finally:
            self.order("rest")


if __name__ == "__main__":
    server = FleetServer(int(sys.argv[1]))
    try:
        obey(server.act)
    finally:
        server.close()
