"""No process outlives its benchmark, whatever it does."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from tests.bench import processes
from tests.bench.machine import SERVING

pytestmark = [
    pytest.mark.one_loop,
    pytest.mark.skipif(sys.platform != "linux", reason="benchmarks are for Linux"),
]


async def test_one_that_ends_with_its_input_is_waited_for() -> None:
    async with processes.running("cat", cores=SERVING) as process:
        pass
    assert process.returncode == 0


async def test_one_that_does_not_is_killed_with_all_that_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "PATIENCE_S", 0.2)
    one = processes.running(*("sh", "-c", "sleep 100 & echo started; wait"), cores=SERVING)
    process = await one.__aenter__()
    assert process.stdout is not None
    assert await process.stdout.readline() == b"started\n"
    with pytest.raises(TimeoutError):
        await one.__aexit__(None, None, None)
    assert process.returncode == -signal.SIGKILL
    # Nobody is left who has the other end of the pipe.
    async with asyncio.timeout(10):
        assert await process.stdout.read() == b""
