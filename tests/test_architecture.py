"""The rooms of the program: an import that breaks a contract is found, and so is a second thing of one name."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FORBIDDEN: Final = {
    "Layers": ("core/scorer.py", "capital_governor.wording.reason_texts"),
    "decide() makes all decisions": ("service/event_log.py", "capital_governor.core.allocator"),
    "core is pure": ("core/scorer.py", "time"),
    "Only the journal": ("service/cycle.py", "sqlite3"),
    "The hive": ("wording/reason_texts.py", "capital_governor.hive.metrics"),
    "The demo": ("cli/hold_command.py", "capital_governor.cli.demo.demo_root"),
    "An agent's client": ("client.py", "capital_governor.core.model"),
    "A keeper is light": ("supervisor/keeper.py", "capital_governor.supervisor.agents"),
}
"""By the beginning of a contract's name: a module and what it must not import."""
SEVERAL: Final = {"main"}
"""Names that several modules define: each program has its ``main``."""


def contracts() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return [contract["name"] for contract in project["tool"]["importlinter"]["contracts"]]


def test_every_contract_is_here() -> None:
    """One that is added needs an import that breaks it."""
    assert [name for name in contracts() if not name.startswith(tuple(FORBIDDEN))] == []
    assert len(contracts()) == len(FORBIDDEN)


@pytest.mark.parametrize("contract", FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(tmp_path: Path, contract: str) -> None:
    """In a copy of the package."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "capital_governor", tmp_path / "capital_governor", ignore=skipped)
    module, forbidden = FORBIDDEN[contract]
    with (tmp_path / "capital_governor" / module).open("a") as file:
        file.write(f"\nimport {forbidden}\n")
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False)
    report = " ".join(done.stdout.split())
    assert all(f"{name} KEPT" in report or f"{name} BROKEN" in report for name in contracts()), report
    assert f"{next(name for name in contracts() if name.startswith(contract))} BROKEN" in report, report
    assert done.returncode == 1


def test_every_room_is_in_contributing() -> None:
    """The list there has every package of the program, the client and the manual, and nothing else."""
    text = (REPOSITORY / ".github/CONTRIBUTING.md").read_text()
    (rooms,) = re.findall(r"^```rooms\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    listed = [line.split()[0] for line in rooms.splitlines() if line.startswith("  ")]
    root = REPOSITORY / "capital_governor"
    packages = {f"{path.parent.name}/" for path in root.rglob("__init__.py") if path.parent != root}
    assert sorted(listed) == sorted(packages | {"client.py", "docs/"})


def test_no_two_things_have_the_same_name() -> None:
    """No public function or class is defined in two modules: one of the two is a copy, or needs a better name."""
    assert doubles(REPOSITORY / "capital_governor") == {}


@pytest.mark.parametrize("double", ["def percent_text(): ...", "async def decide(): ...", "class Publication: ..."])
def test_a_second_thing_of_the_same_name_is_found(tmp_path: Path, double: str) -> None:
    """In a copy of the package, with a line more."""
    package = tmp_path / "capital_governor"
    shutil.copytree(REPOSITORY / "capital_governor", package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "cli/figures.py").open("a") as file:
        file.write(f"\n{double}\n")
    ((name, modules),) = doubles(package).items()
    assert name in double
    assert len(modules) == 2
    assert "cli/figures.py" in modules


def doubles(package: Path) -> dict[str, list[str]]:
    """By name, the modules, relative to the package, that define a public function or class of that name."""
    found: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                found.setdefault(node.name, []).append(str(path.relative_to(package)))
    return {name: modules for name, modules in found.items() if len(modules) > 1 and name not in SEVERAL}


def test_every_module_is_used() -> None:
    """Each is reached from what is started or imported from outside."""
    starts = ("__main__", "client", "supervisor.__main__", "supervisor.keeper", "service.governor_end")
    reached = set().union(*(reached_from(f"capital_governor.{start}") for start in starts))
    root = REPOSITORY / "capital_governor"
    modules = {str(path.relative_to(root)) for path in root.rglob("*.py") if path.name != "__init__.py"}
    assert modules == {module for module in reached if not module.endswith("__init__.py")}


def reached_from(start: str) -> set[str]:
    """The files, relative to the package, of a module and of all modules of the package it imports, however late."""
    package = REPOSITORY / "capital_governor"
    modules = {
        ".".join(("capital_governor", *path.relative_to(package).with_suffix("").parts)): path
        for path in package.rglob("*.py")
    }
    seen, queue = set(), [start]
    while queue:
        module = queue.pop()
        if module in seen or module not in modules:
            continue
        seen.add(module)
        for node in ast.walk(ast.parse(modules[module].read_bytes())):
            if isinstance(node, ast.Import):
                queue += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                queue += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # a command, as the parser names it
                queue.append(f"capital_governor.cli.{node.value.partition(':')[0]}")
    return {str(modules[module].relative_to(package)) for module in seen}
