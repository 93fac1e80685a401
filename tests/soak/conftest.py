"""Long runs, and their short forms: ``make soak`` runs them long, ``make test`` short."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.roles.processes import Daemons

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="Run the soaks in their long form.")
    parser.addoption(
        "--minutes", type=float, default=5.0, help="How long the long mixed soak takes."
    )


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a soak: enrolments in all, how many at a time; kills, and how long in between."""

    enrolments: int
    at_a_time: int
    kills: float
    uptime_s: float


@pytest.fixture
def size(request: pytest.FixtureRequest) -> Size:
    if request.config.getoption("--long", default=False):
        return Size(2000, 16, math.inf, 1.0)
    # Sixteen at a time would have to be done in three seconds, of which others have most.
    return Size(24, 4, 2, 0.2)


@pytest.fixture
async def asynctls(tmp_path: Path) -> AsyncIterator[Daemons]:
    home = tmp_path / "home"
    home.mkdir()
    daemons = Daemons(home)
    yield daemons
    await daemons.end()


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long a soak under load is to take."""
    if request.config.getoption("--long", default=False):
        return 60 * float(request.config.getoption("--minutes"))
    return 10.0
