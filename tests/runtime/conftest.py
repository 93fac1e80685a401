"""What was logged, and processes that run a piece of code under a loop of choice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

Events = list[MutableMapping[str, Any]]
Spawn = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def events() -> Iterator[Events]:
    with capture_logs() as captured:
        yield captured


@pytest.fixture
def until() -> Until:
    """Lets the loop turn until something holds; the test's own time-out bounds it."""

    async def wait(holds: Callable[[], object]) -> None:
        while not holds():  # noqa: ASYNC110 - sockets and signals have no event
            # What is waited for may be a process, which needs the core that we would turn on.
            await asyncio.sleep(0.001)

    return wait


@pytest.fixture(params=["asyncio", "uvloop"])
def spawn(request: pytest.FixtureRequest) -> Iterator[Spawn]:
    """Starts Python with some code, on either loop; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            env={**os.environ, "ASYNCTLS_LOOP": request.param, "PYTHONASYNCIODEBUG": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
