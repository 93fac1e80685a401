"""The daemons against peers that say what nobody says; ``make fuzz`` has many more of them."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.live import Held, live
from tests.roles.processes import Daemons

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fuzz.live import Live

AT_ONCE = 12
# A database is opened once more for each thread that reads it.
MOST_MORE_DESCRIPTORS = 8
MOST_GROWTH_MB = 24


@pytest.fixture
async def asynctls(tmp_path: Path) -> AsyncIterator[Daemons]:
    home = tmp_path / "home"
    home.mkdir()
    daemons = Daemons(home)
    yield daemons
    await daemons.end()


@pytest.mark.one_loop
# As long as there are connections to make; each of its waits has an end of its own.
@pytest.mark.timeout(0)
async def test_whatever_is_said_to_them_daemons_serve_on_and_hold_on_to_nothing(
    request: pytest.FixtureRequest, asynctls: Daemons, tmp_path: Path
) -> None:
    connections = request.config.getoption("--connections", default=200)
    first = request.config.getoption("--first", default=0)
    async with live(asynctls, tmp_path) as daemons:
        await daemons.serves()
        # What every process grows by at first is no leak.
        await attempt(daemons, range(first, first + connections // 4))
        before = held(daemons)
        step = max(connections // 20, 1)
        for start in range(first + connections // 4, first + connections, step):
            await attempt(daemons, range(start, min(start + step, first + connections)))
            print(start, daemons.tried, held(daemons), flush=True)
        await daemons.serves()
        daemons.check_logs()
        await nothing_held_on_to(daemons, before)
    assert sum(daemons.tried.values()) == connections


async def attempt(daemons: Live, numbers: range) -> None:
    """All of these, several at once; then looks at what was logged."""
    remaining = iter(numbers)

    async def some() -> None:
        for number in remaining:
            try:
                await daemons.attempt(number)
            except Exception as error:
                error.add_note(f"attempt {number}: --first={number} --connections=1")
                raise

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())
    daemons.check_logs()


def held(daemons: Live) -> dict[str, Held]:
    return {name: Held.by(process) for name, process in daemons.processes.items()}


async def nothing_held_on_to(daemons: Live, before: dict[str, Held]) -> None:
    """What connections held is given back, in a moment at the most."""
    for wait_s in itertools.chain([0.1] * 50, [None]):
        after = held(daemons)
        more = max(after[name].descriptors - before[name].descriptors for name in after)
        if more <= MOST_MORE_DESCRIPTORS:
            break
        assert wait_s is not None, (before, after)
        await asyncio.sleep(wait_s)
    for name, now in after.items():
        assert now.megabytes <= before[name].megabytes + MOST_GROWTH_MB, (name, before, after)
