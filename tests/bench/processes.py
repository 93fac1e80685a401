"""The processes of a benchmark: each runs on a core, until its standard input is closed."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from tests.bench.machine import pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["PATIENCE_S", "running"]

PATIENCE_S = 20.0


@asynccontextmanager
async def running(
    *words: str | Path,
    cores: set[int],
    stdout: int = asyncio.subprocess.PIPE,
    stderr: int | None = asyncio.subprocess.DEVNULL,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """It, which ends with the context, and with it whatever it has started.

    Raises:
        TimeoutError: it did not end by itself, and was killed.
    """
    with pinned(cores):
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
