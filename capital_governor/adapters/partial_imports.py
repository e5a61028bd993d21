"""Import a library without optional parts that the governor does not use.

Where they are installed, httpx loads click, rich and pygments for its command line, and structlog loads rich for its
colours: about 10 MB and 100 ms. Both libraries work without them, so they are hidden while the library loads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Make ``import`` of these top-level modules raise ImportError inside the block.

    A module that is already loaded can still be imported. No other thread may import one of the modules meanwhile.
    """
    hidden = [name for name in modules if name not in sys.modules]
    # For the import system None means "do not search"; the type stub allows modules only.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


def remember_absent(*modules: str) -> None:
    """Look for top-level modules once, and make later imports of those that are not installed fail at once.

    httpcore imports sniffio eight times per request. If it is missing, each import searches every folder of the path,
    which takes a quarter of the time of a small fetch.
    """
    for name in modules:
        if name not in sys.modules and find_spec(name) is None:
            sys.modules[name] = None  # type: ignore[assignment]
