"""The front door on a stranger's machine: what is found, passed over, and said. No network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
TOOLS = (
    "awk",
    "cat",
    "chmod",
    "cksum",
    "cp",
    "dirname",
    "ln",
    "make",
    "mkdir",
    "rm",
    "rmdir",
    "sed",
    "sh",
)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A copy of the repository's set-up in a folder with a space in its name, and a bare PATH."""

    folder: Path
    programs: Path

    def has(self, name: str, script: str) -> None:
        """Puts a program there; ``script`` is for sh."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(
        self, *words: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env={"PATH": str(self.programs), "HOME": str(self.folder), **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def file(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    folder, programs = tmp_path / "a clone", tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (programs / tool).symlink_to(found)
    for name in ("Makefile", "pyproject.toml", "src/asynctls/_version.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    return Stranger(folder, programs)


# A Python that runs, whose venv module makes an environment, and which installs nothing: pip is
# only written down.
PYTHON = f"""
case "$*" in
    "-m venv "*)
        mkdir -p "$3/bin" && : >"$3/pyvenv.cfg"
        cp "$0" "$3/bin/python" && chmod +x "$3/bin/python" ;;
    "-m pip install"*) echo "$*" >>"$HOME/installs" ;;
    "-m pip"*) ;;
    *) exec '{sys.executable}' "$@" ;;
esac
"""


def working_python(stranger: Stranger, name: str = "python3") -> None:
    stranger.has(name, PYTHON)


def test_help_is_the_default_and_lists_every_target(stranger: Stranger) -> None:
    result = stranger.run("make")
    assert result.returncode == 0
    assert result.stdout == stranger.run("make", "help").stdout
    listed = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    targets = {"setup", "demo", "test", "check", "docs", "bench", "attacks", "peers", "clean"}
    assert targets <= set(listed)
    phony = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY")
    )
    assert listed == phony.split()[1:]


def test_without_any_python_one_line_says_what_to_install(stranger: Stranger) -> None:
    result = stranger.run("sh", "requirements/setup.sh")
    assert result.returncode == 1
    progress, problem = result.stderr.splitlines()
    assert progress.startswith("Setting up .venv")
    assert problem.startswith("No Python 3.11 or newer")
    assert not stranger.file(".venv").exists()


def test_a_shim_that_fails_and_an_old_python_are_passed_over(stranger: Stranger) -> None:
    stranger.has("python3", "echo 'version not set' >&2; exit 127")
    stranger.has("python3.14", "exit 1")
    working_python(stranger, "python3.12")
    result = stranger.run("make", "setup")
    assert result.returncode == 0, result.stderr
    assert stranger.file(".venv/bin/python").exists()


def test_only_the_hash_pinned_lock_is_installed_and_then_the_package_alone(
    stranger: Stranger,
) -> None:
    working_python(stranger)
    assert stranger.run("make", "setup").returncode == 0
    packages, package = stranger.file("installs").read_text().splitlines()
    assert "--require-hashes" in packages
    assert packages.endswith("-r requirements/dev.txt")
    assert "--no-build-isolation --no-deps" in package


def test_a_second_time_installs_nothing_and_says_nothing(stranger: Stranger) -> None:
    working_python(stranger)
    stranger.run("make", "setup")
    before = stranger.file("installs").read_text()
    result = stranger.run("make", "setup")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert stranger.file("installs").read_text() == before


def test_a_further_lock_is_installed_besides_and_once(stranger: Stranger) -> None:
    working_python(stranger)
    stranger.run("make", "setup")
    assert "docs.txt" not in stranger.file("installs").read_text()
    for _ in range(2):
        result = stranger.run("sh", "requirements/setup.sh", ".venv", "docs")
        assert result.returncode == 0, result.stderr
    (besides,) = stranger.file("installs").read_text().splitlines()[2:]
    assert "--require-hashes" in besides
    assert besides.endswith("-r requirements/docs.txt")


def test_a_changed_pyproject_installs_the_package_anew_and_nothing_else(
    stranger: Stranger,
) -> None:
    working_python(stranger)
    stranger.run("make", "setup")
    before = stranger.file("installs").read_text().splitlines()
    with stranger.file("pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    assert stranger.run("make", "setup").returncode == 0
    after = stranger.file("installs").read_text().splitlines()
    assert len(after) == len(before) + 1
    assert "--editable" in after[-1]


@pytest.mark.parametrize("interrupted_at", ["-m venv", "-m pip install --quiet --quiet --req"])
def test_an_interrupted_set_up_does_not_count_as_ready(
    stranger: Stranger, interrupted_at: str
) -> None:
    working_python(stranger)
    script = stranger.programs / "python3"
    good = script.read_text()
    script.write_text(
        good.replace(
            'case "$*"',
            f'case "$*" in "{interrupted_at}"*) kill -9 $PPID; exit 1;; esac\ncase "$*"',
            1,
        )
    )
    assert stranger.run("make", "setup").returncode != 0
    script.write_text(good)
    result = stranger.run("make", "setup")
    assert result.returncode == 0
    assert "is ready" in result.stderr


def test_an_environment_that_was_moved_is_made_anew(stranger: Stranger) -> None:
    working_python(stranger)
    stranger.run("make", "setup")
    moved = stranger.folder.rename(stranger.folder.with_name("elsewhere"))
    result = Stranger(moved, stranger.programs).run("make", "setup")
    assert "Setting up .venv" in result.stderr


def test_where_venv_does_not_work_uv_is_asked(stranger: Stranger) -> None:
    stranger.has("python3", f'[ "$1" = -c ] || exit 1; exec \'{sys.executable}\' "$@"')
    stranger.has("uv", 'echo "$*" >>"$HOME/asked"; exit 1')
    result = stranger.run("sh", "requirements/setup.sh")
    assert result.returncode == 1
    assert "--python python3 .venv" in stranger.file("asked").read_text()
    assert "python3-venv" in result.stderr.splitlines()[-1]


def test_a_python_that_is_named_is_the_one_taken_or_refused(stranger: Stranger) -> None:
    working_python(stranger)
    result = stranger.run("make", "setup", "PYTHON=nothing-like-it")
    assert result.returncode != 0
    assert "PYTHON=nothing-like-it" in result.stderr
    working_python(stranger, "mine")
    assert stranger.run("make", "setup", "PYTHON=mine").returncode == 0


def test_what_is_no_environment_is_left_alone(stranger: Stranger) -> None:
    working_python(stranger)
    stranger.file(".venv").mkdir()
    stranger.file(".venv/thesis.txt").write_text("mine")
    result = stranger.run("sh", "requirements/setup.sh")
    assert result.returncode == 1
    assert ".venv is in the way" in result.stderr
    assert stranger.file(".venv/thesis.txt").read_text() == "mine"


def test_settings_for_other_work_do_not_reach_the_environment(stranger: Stranger) -> None:
    working_python(stranger)
    stranger.has("python3", f'[ "$PYTHONPATH$PIP_TARGET" = "" ] || exit 1\n{PYTHON}')
    environ = {"PYTHONPATH": "elsewhere", "PIP_TARGET": "elsewhere"}
    assert stranger.run("make", "setup", environ=environ).returncode == 0


def test_the_scripts_are_plain_sh(stranger: Stranger) -> None:
    for script in [*(ROOT / "requirements").glob("*.sh"), *(ROOT / ".ci").glob("*.sh")]:
        result = subprocess.run(
            ["sh", "-n", os.fspath(script)], capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, ""), script
