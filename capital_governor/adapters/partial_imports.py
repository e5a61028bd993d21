"""Import a library without the optional parts of it that the daemon never uses.

httpx loads its command line (click, rich, pygments) and structlog its colours (rich) whenever these are installed,
though nobody asked: some 10 MB and 100 ms in a process that only fetches and writes. Both libraries survive the absence
of the optional part, so it is made to look absent while they load.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Make ``import`` of these top-level modules raise ImportError inside the block, and only there.

    A module that is loaded already stays as it is, and can be imported inside the block. Not for use while another
    thread imports one of the modules.
    """
    hidden = [name for name in modules if name not in sys.modules]
    # None is the import system's own mark for "do not look further"; the stub says modules only.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


def remember_absent(*modules: str) -> None:
    """Look once for top-level modules, and let later imports of those that are not installed fail at once.

    httpcore asks for sniffio eight times a request; where it is not installed, that searches every folder of the
    path each time, a quarter of a small fetch.
    """
    for name in modules:
        if name not in sys.modules and find_spec(name) is None:
            sys.modules[name] = None  # type: ignore[assignment]
