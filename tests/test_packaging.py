"""The locks and the package's metadata: what is installed where, and that nothing names a host."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from asynctls import _version

ROOT = Path(__file__).parents[1]
LOCKS = ("run.txt", "dev.txt", "docs.txt", "fuzz.txt", "build.txt")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def entries(lock: str) -> list[str]:
    """Each requirement of a lock on one line, its hashes included."""
    text = (ROOT / "requirements" / lock).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip()]


def names(lock: str) -> set[str]:
    return {entry.partition("==")[0] for entry in entries(lock)}


def bare(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return found[0].lower().replace("_", "-")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_and_has_hashes(lock: str) -> None:
    assert entries(lock)
    for entry in entries(lock):
        assert re.match(r"[a-z0-9.-]+==\S+ ", entry), entry
        assert "--hash=sha256:" in entry


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host_and_no_path(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    assert "/" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_the_locks_hold_what_the_package_asks_for() -> None:
    asked = pyproject()
    run = {bare(requirement) for requirement in asked["project"]["dependencies"]}
    build = {bare(requirement) for requirement in asked["build-system"]["requires"]}
    dev = {bare(requirement) for requirement in asked["dependency-groups"]["dev"]}
    assert run <= names("run.txt")
    assert run | dev | build <= names("dev.txt")
    assert build <= names("build.txt")
    docs = {bare(requirement) for requirement in asked["dependency-groups"]["docs"]}
    assert docs <= names("docs.txt")


def test_what_runs_is_what_was_developed_with() -> None:
    assert set(entries("run.txt")) <= set(entries("dev.txt"))


@pytest.mark.parametrize("lock", ["docs.txt", "fuzz.txt", "build.txt"])
def test_what_is_for_one_purpose_fits_into_the_environment_that_is_there(lock: str) -> None:
    def versions(lock: str) -> dict[str, str]:
        return dict(entry.split()[0].split("==") for entry in entries(lock))

    there, added = versions("dev.txt"), versions(lock)
    assert {name: added[name] for name in there.keys() & added.keys()}.items() <= there.items()


def test_the_version_stands_in_one_place() -> None:
    asked = pyproject()
    assert asked["project"]["dynamic"] == ["version"]
    assert ROOT / asked["tool"]["hatch"]["version"]["path"] == Path(_version.__file__)


def test_the_license_file_is_the_one_that_is_declared() -> None:
    project = pyproject()["project"]
    assert project["license"] == "Apache-2.0"
    (name,) = project["license-files"]
    text = (ROOT / name).read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_no_file_names_a_package_registry() -> None:
    result = subprocess.run(
        ["sh", ".ci/no-registry.sh"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
