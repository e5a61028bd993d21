"""What a governor that lives for months does not carry: the libraries of the command line, of servers and numerics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from capital_governor.adapters.partial_imports import without
from tests.rigs.dashboard import Dashboard, fresh
from tests.rigs.patience import PATIENCE_SECONDS, wait_until

HEAVY = {"telegram", "rich", "pygments", "uvicorn", "starlette", "numpy", "pandas", "scipy"}

GOVERN = """
import json, sys
from capital_governor.__main__ import main
sys.argv = ["capital-governor", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    print(json.dumps({"code": ended.code, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_a_governor_loads_nothing_that_it_does_not_use(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """After whole cycles of `run`, none of the heavy libraries is in sys.modules, though they are installed."""
    status = tmp_path / "runtime" / Path(*(["dry_run"] if arguments else [])) / "capital_governor_status.json"
    with Dashboard(fresh()) as server:
        process = subprocess.Popen(
            [sys.executable, "-P", "-W", "error", "-c", GOVERN, "run", "--root", tmp_path, *arguments],
            env={
                "PATH": os.defpath,
                "NEOLIGHT_DASHBOARD_URL": server.url,
                "CAPITAL_GOVERNOR_INTERVAL": "0.05",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            wait_until(status.exists)
            server.wait_for(4)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait(PATIENCE_SECONDS)
    said = json.loads(out)
    assert said["code"] == 0
    loaded = {name.partition(".")[0] for name in said["modules"]}
    assert {"httpx", "pydantic", "structlog", "tenacity"} <= loaded
    assert not loaded & HEAVY
    assert "capital_governor.cli.status_command" not in said["modules"]


def test_the_heavy_libraries_are_there_to_be_loaded() -> None:
    """The libraries of the command line are installed here: their absence above means something."""
    done = subprocess.run([sys.executable, "-c", "import rich, pygments, telegram, numpy"], check=False)
    assert done.returncode == 0


LEFT_OUT = {"pydantic", "pydantic_settings", "httpx", "structlog", "rich", "filelock", "asyncio", "uvicorn", "telegram"}
HURRIED = ["status", "hold --for 1h", "limits", "resume", "limit SmartTrader --max 0.1", "unlimit SmartTrader"]
HURRIED += ["exposure --max 0.5", "exposure", "exposure --lift", "limit SmartTrader"]


def test_what_is_typed_in_a_hurry_loads_little(tmp_path: Path) -> None:
    """A look and an order load neither an HTTP client nor a validator, whatever is set: they are there at once."""
    environment = {"PATH": os.defpath, "CAPITAL_GOVERNOR_MAX_ALLOC": "0.5", "TELEGRAM_CHAT_ID": "-100123"}
    with Dashboard(fresh()) as server:
        once = [sys.executable, "-P", "-m", "capital_governor", "once", "--root", str(tmp_path)]
        subprocess.run(once, env={"PATH": os.defpath, "NEOLIGHT_DASHBOARD_URL": server.url}, check=True)
    for words in HURRIED:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", GOVERN, *words.split(), "--root", str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["code"] == (75 if words == "status" else 0), done.stderr
        assert not {name.partition(".")[0] for name in said["modules"]} & LEFT_OUT, words
        assert "warning: TELEGRAM_CHAT_ID is set but TELEGRAM_BOT_TOKEN is not" in done.stderr


def python(code: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run([sys.executable, "-P", "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_library_loads_without_its_optional_part() -> None:
    """Inside the block httpx is loaded without rich, afterwards rich can be imported as ever."""
    code = """
import sys
from capital_governor.adapters.partial_imports import without
with without("click", "pygments", "rich"):
    import httpx
print(sorted({"click", "pygments", "rich"} & set(sys.modules)))
import rich.console
print(httpx.URL("http://localhost").host, rich.console.Console is not None)
"""
    assert python(code) == "[]\nlocalhost True"


def test_hidden_modules_are_hidden_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside the block an import of a hidden module fails, and nothing of that is left afterwards."""
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with pytest.raises(ModuleNotFoundError), without("this"):
        __import__("this")
    assert "this" not in sys.modules


def test_a_module_that_is_loaded_stays() -> None:
    """A module loaded before can be imported inside the block, and is the same one afterwards."""
    with without("json"):
        assert __import__("json") is json
    assert sys.modules["json"] is json
