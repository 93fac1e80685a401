"""Jobs for the load's process: lines of JSON in, a line with the result of each out."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.bench.machine import LOADING
from tests.bench.processes import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["Job", "loading", "work_off"]

_JOB_S = 300.0


class Job:
    """The load's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __call__(self, do: str, **what: Any) -> dict[str, float]:
        """One job; its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
        async with asyncio.timeout(_JOB_S):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load ended in {do!r}")
        result: dict[str, float] = json.loads(line)
        return result


@asynccontextmanager
async def loading(module: str, *words: str | Path) -> AsyncIterator[Job]:
    """A load: that module, on the load's core."""
    command = (sys.executable, "-m", module, *words)
    async with running(*command, cores=LOADING, stderr=None) as process:
        yield Job(process)


def work_off(load: object) -> None:
    """In the load's process: one job after another, each a method of ``load``."""
    for line in sys.stdin:
        job = json.loads(line)
        result = getattr(load, job.pop("do"))(**job)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
