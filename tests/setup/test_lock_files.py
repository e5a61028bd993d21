"""The lock files of .ci, and the program that makes and audits them."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.rigs.script_machine import REPOSITORY

RUN, TEST = (REPOSITORY / ".ci" / name for name in ("requirements.txt", "requirements-test.txt"))
LINE = re.compile(r"[\w.-]+==\S+(?: ; [^\\]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n")


def needs(*, extra: bool) -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    if extra:
        lines += project["project"]["optional-dependencies"]["test"]
    return [Requirement(line) for line in lines]


def pins(file: Path) -> dict[str, list[str]]:
    """Versions by the package's name; one that differs by Python's version has several."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", file.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(version)
    return found


@pytest.mark.parametrize("file", [RUN, TEST])
def test_every_package_is_pinned_with_its_hashes_and_nothing_else_is_said(file: Path) -> None:
    """No address of an index, no option, no package without a hash: the file holds wherever packages come from."""
    text = "".join(line for line in file.read_text().splitlines(keepends=True) if not line.startswith("#"))
    assert LINE.sub("", text) == ""
    assert "://" not in file.read_text()


@pytest.mark.parametrize("extra", [False, True])
def test_the_lock_files_have_what_pyproject_demands(extra: bool) -> None:
    """A requirement that was added or raised without making the lock files anew is found here."""
    locked = pins(TEST if extra else RUN)
    for need in needs(extra=extra):
        assert need.name in locked, f"{need}: .venv/bin/python .ci/lock.py"
        assert all(need.specifier.contains(version) for version in locked[need.name]), need


def test_what_runs_is_what_was_tested() -> None:
    """Whatever a run installs, the tests have it in the same version."""
    run, test = pins(RUN), pins(TEST)
    assert {name: test.get(name) for name in run} == run


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ([], 0, "0 known vulnerabilities, 0 packages NOT AUDITED"),
        ([{"name": "x", "version": "1", "vulns": [{"id": "PYSEC-1"}]}], 1, "x 1: PYSEC-1"),
        (
            [{"name": "x", "skip_reason": "x is not found"}],
            75,
            "1 packages NOT AUDITED\nThe first that is not: x is not",
        ),
        (None, 75, "Run this again where the vulnerability service of PyPI can be reached."),
    ],
)
def test_an_audit_that_did_not_happen_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: list[dict[str, Any]] | None, code: int, said: str
) -> None:
    """A vulnerability, a package that the service does not know, and no answer at all each end it with their code."""
    program = tmp_path / "pip-audit"
    document = "" if answer is None else json.dumps({"dependencies": answer})
    # pip-audit is asked twice, for some packages have two versions: the second answer is always empty.
    empty = json.dumps({"dependencies": []})
    program.write_text(
        f"#!/bin/sh\nif mkdir '{tmp_path}/asked' 2>/dev/null; then echo '{document}'; else echo '{empty}'; fi\n"
    )
    program.chmod(0o755)
    audit = runpy.run_path(str(REPOSITORY / ".ci/lock.py"))["audit"]
    assert audit(tmp_path, tmp_path / "requirements") == code
    assert said in capsys.readouterr().out
