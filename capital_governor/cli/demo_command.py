"""``demo``: the real governor on a simulated fleet, in a root of its own."""

from __future__ import annotations

from pathlib import Path

from capital_governor.cli.demo.demo_root import DemoError
from capital_governor.cli.demo.show import show
from capital_governor.cli.failures import explained
from capital_governor.cli.output import fail


def demo(seconds: float, seed: int, folder: Path | None, picture: Path | None) -> int:
    """Show the demo; return its exit code: 1 if a scene does not come, 130 after Ctrl-C."""
    try:
        with explained():
            return show(folder, seconds, seed, picture)
    except DemoError as error:
        fail(error.code, f"demo: {error}")
