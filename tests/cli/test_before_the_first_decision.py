"""What the commands that look say of a governor that has only held so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigs.commands import call
from tests.rigs.daemon import governing
from tests.rigs.dashboard import Dashboard, fresh, record

pytestmark = pytest.mark.usefixtures("loaded")


def test_explain_names_what_tells_why_there_is_no_decision(tmp_path: Path) -> None:
    """While a governor runs, that is ``status``, since ``once`` would be refused; else ``once``."""
    faulty = {name: record() | {"sharpe_30d": None} for name in ("Ada", "Bob")}
    root = tmp_path / "root"
    root.mkdir()
    none = f"capital-governor: the journal of {root} has no decision yet: "
    with Dashboard(fresh(faulty)) as dashboard:
        with governing(root, dashboard.url):
            said = call(root, "explain", "Ada")
            assert (said.code, said.err) == (
                75,
                f"{none}`capital-governor status --root {root}` says what holds the running governor\n",
            )
            status = call(root, "status").out
        assert "held: most agents report faulty records: 2 of 2 agents have a faulty record" in status
        assert f"`capital-governor check --root {root}` names each fault" in " ".join(status.split())
        said = call(root, "explain", "Ada")
    assert (said.code, said.err) == (75, f"{none}`capital-governor once --root {root}` takes one\n")
