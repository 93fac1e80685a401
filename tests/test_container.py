"""The example of a container: no engine builds it here, but all that it does is done."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.roles.processes import run_program

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
COMPOSE = (FOLDER / "compose.yaml").read_text()


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, and what stands after them."""
    found: list[list[tuple[str, str]]] = []
    for line in CONTAINERFILE.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        if found and word and word != "#":
            found[-1].append((word, rest))
    return found


def told(instruction: str, stage: int) -> list[str]:
    return [rest for word, rest in stages()[stage] if word == instruction]


def test_what_is_copied_is_there() -> None:
    sources = [source for rest in told("COPY", 0) for source in rest.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
    assert told("COPY", -1) == ["--from=build /opt/asynctls /opt/asynctls"]


def test_nothing_is_installed_unless_its_hash_is_checked_or_it_was_built_from_here() -> None:
    installs = [rest for rest in told("RUN", 0) if " install " in rest]
    *locked, own = installs
    assert [re.findall(r"-r (\S+)", each) for each in locked] == [
        ["requirements/build.txt"],
        ["requirements/run.txt"],
    ]
    for each in locked:
        assert "--require-hashes --only-binary :all:" in each
    assert own.endswith("--no-index --no-deps wheel/*.whl")


def test_it_does_not_run_as_root() -> None:
    assert told("USER", -1) == ["10001:10001"]
    (made,) = told("RUN", -1)
    assert "--uid 10001 --home-dir /var/lib/asynctls --create-home" in made
    assert told("ENTRYPOINT", -1) == ['["asynctls"]']


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="uv made this without pip")
def test_its_build_makes_a_command_that_runs(tmp_path: Path) -> None:
    there, made = tmp_path / "build", tmp_path / "opt"
    for rest in told("COPY", 0):
        *sources, target = rest.split()
        for source in sources:
            copied = there / target
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, copied, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                copied.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, copied)
    programs = Path(sys.executable).parent
    environ = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    for command in told("RUN", 0):
        # What the locks hold is in this environment already.
        if "--require-hashes" not in command:
            subprocess.run(
                ["sh", "-c", command.replace("/opt/asynctls", str(made))],
                cwd=there,
                env=environ,
                capture_output=True,
                check=True,
            )
    # Those packages, and not this repository, which a test's own environment is of.
    (installed,) = made.glob("lib/python*/site-packages")
    packages = Path(next(path for path in sys.path if path.endswith("site-packages")))
    ran = subprocess.run(
        [made / "bin" / "asynctls", "--version"],
        env={"PYTHONPATH": f"{installed}{os.pathsep}{packages}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (installed / "asynctls" / "py.typed").exists()


async def test_a_role_is_healthy_with_a_certificate_within_its_dates(
    joined: Any, tmp_path: Path
) -> None:
    (health,) = told("HEALTHCHECK", -1)
    command = health.partition(" CMD ")[2].replace("asynctls", f"'{sys.executable}' -m asynctls", 1)

    async def code(folder: Path) -> int:
        return (await run_program("env", f"ASYNCTLS_STATE={folder}", "sh", "-c", command)).code

    assert await code((await joined("server")).folder) == 0
    assert await code(tmp_path / "nobody") == 1


async def test_a_ttp_is_healthy_while_it_says_so(
    ttp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = re.search(r"- -c\n\s+- \|\n((?: {10}.*\n)+)", COMPOSE)
    assert found is not None
    code = (
        dedent(found[1])
        .replace("/var/lib/asynctls/ttp", str(tmp_path / "ttp"))
        .replace("ttp:8440", str(ttp.address))
    )
    assert str(ttp.address) in code
    assert (await run_program(sys.executable, "-c", code)).code == 0
    monkeypatch.setattr("asynctls.ttp.health.LONGEST_S", -1.0)
    assert (await run_program(sys.executable, "-c", code)).code == 1
