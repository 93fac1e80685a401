"""The demo as a process with a process group of its own, as a shell gives it one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.remarks import without_remarks
from tests.roles.processes import Daemons

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

_PATIENCE_S = 55.0


@dataclass(slots=True)
class Demo:
    """A demo that runs, and the lines that it has told."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    async def told(self, words: str) -> None:
        """Reads on until a line has those words."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_PATIENCE_S):
            async for line in self.process.stdout:
                self.lines.append(line.decode().rstrip("\n"))
                if words in self.lines[-1]:
                    return
        pytest.fail(f"the demo ended without {words!r}: {self.lines}")

    async def ended(self) -> tuple[int, str]:
        """Its exit code and what it wrote to standard error; all its lines are in ``lines``."""
        async with asyncio.timeout(_PATIENCE_S):
            out, err = await self.process.communicate()
        # None where its output goes to a terminal.
        self.lines += (out or b"").decode().splitlines()
        assert self.process.returncode is not None
        return self.process.returncode, without_remarks(err.decode())

    @property
    def has_left_something(self) -> bool:
        """Whether a process of its group is still there."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Demo]]]:
    """``await demo(state, stdout=…)`` starts one; nothing of its group outlives the test."""
    started: list[Demo] = []
    home = tmp_path / "home"
    home.mkdir()

    async def start(state: Path, *, stdout: int = asyncio.subprocess.PIPE) -> Demo:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "asynctls", "demo", "--state", str(state)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=Daemons(home).environ() | {"TERM": "xterm"},  # a dumb one has no colours
        )
        started.append(Demo(process))
        return started[-1]

    yield start
    for each in started:
        if each.has_left_something:
            os.killpg(each.process.pid, signal.SIGKILL)
        await each.process.communicate()
