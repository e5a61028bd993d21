"""Makes the lock files in this folder again from pyproject.toml, then audits them.

    .venv/bin/python .ci/lock.py                          # the newest versions of all packages
    .venv/bin/python .ci/lock.py --upgrade-package httpx  # with arguments of uv: only this package

``requirements.txt`` has the packages to install and run the program, ``requirements-test.txt`` those of the tests too,
for every Python from 3.11 on, Linux and macOS, with a hash for each file of a package. uv and pip-audit are installed
into a virtual environment that is removed afterwards.

Exit codes: 0 no vulnerability is known; 1 a package has a known one; 75 the lock files are made, but not all packages
could be audited, for example because the service cannot be reached.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections import defaultdict
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RUN, TEST = ".ci/requirements.txt", ".ci/requirements-test.txt"
VULNERABLE, NOT_AUDITED = 1, 75


def make(tools: Path, build: Path, arguments: list[str]) -> None:
    """Write both lock files; a package in both has the same version."""
    needs = tomllib.loads((PROJECT / "pyproject.toml").read_text())["build-system"]["requires"]
    build.write_text("".join(f"{need}\n" for need in needs))
    command = [str(tools / "uv"), "pip", "compile", "pyproject.toml", str(build), "--quiet", "--no-annotate"]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--custom-compile-command", ".venv/bin/python .ci/lock.py"]
    command += arguments or ["--upgrade"]
    subprocess.run([*command, "--extra", "test", "--output-file", TEST], cwd=PROJECT, check=True)  # noqa: S603
    subprocess.run([*command, "--constraint", TEST, "--output-file", RUN], cwd=PROJECT, check=True)  # noqa: S603


def pinned() -> list[list[str]]:
    """Return all packages with their versions; a second list has the second version of packages with two."""
    versions = defaultdict(list)
    for name, version in re.findall(r"^([\w.-]+)==([^ ]+)", (PROJECT / TEST).read_text(), re.MULTILINE):
        versions[name].append(version)
    deepest = max(map(len, versions.values()))
    return [[f"{name}=={all_[nth]}" for name, all_ in versions.items() if nth < len(all_)] for nth in range(deepest)]


def audit(tools: Path, requirements: Path) -> int:
    """Print known vulnerabilities of the packages in the lock files; return the exit code."""
    vulnerable: list[str] = []
    not_audited: list[str] = []
    packages = pinned()
    for some in packages:
        requirements.write_text("".join(f"{package}\n" for package in some))
        command = [str(tools / "pip-audit"), "--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json"]
        ran = subprocess.run(  # noqa: S603
            [*command, "--requirement", str(requirements)], capture_output=True, text=True, check=False
        )
        try:
            found: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"]
        except ValueError:
            sys.stderr.write(ran.stderr)
            not_audited += some
            continue
        not_audited += [each["skip_reason"] for each in found if "skip_reason" in each]
        for each in found:
            vulnerable += [f"{each['name']} {each['version']}: {known['id']}" for known in each.get("vulns", ())]
    print(*vulnerable, sep="\n", end="\n" if vulnerable else "")
    total = sum(map(len, packages))
    print(f"{total} packages: {len(vulnerable)} known vulnerabilities, {len(not_audited)} packages NOT AUDITED")
    if not_audited:
        print(f"The first that is not: {not_audited[0]}")
        print("Run this again where the vulnerability service of PyPI can be reached.")
    return VULNERABLE if vulnerable else NOT_AUDITED if not_audited else 0


def main() -> int:
    """Make the lock files, audit them, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder, "venv", "bin")
        venv.create(tools.parent, with_pip=True)
        install = [str(tools / "python"), "-I", "-m", "pip", "install", "--quiet", "uv", "pip-audit"]
        subprocess.run(install, check=True)  # noqa: S603
        make(tools, Path(folder, "build-requirements.txt"), sys.argv[1:])
        return audit(tools, Path(folder, "requirements.txt"))


if __name__ == "__main__":
    sys.exit(main())
