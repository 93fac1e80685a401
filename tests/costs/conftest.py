"""A report of a real run, made once for all workers: it takes seconds."""

from __future__ import annotations

import asyncio
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from asynctls.costs.report import Report
from asynctls.costs.run import measure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What `asynctls costs` measures, as it shows it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made = folder / "costs-report.json"
    with (folder / "costs-report.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(made)
    return msgspec.json.decode(made.read_bytes(), type=Report)


def _make(made: Path) -> None:
    # On a loop of its own, so in a thread of its own: a test's may be running, or a browser's.
    with capture_logs(), ThreadPoolExecutor(max_workers=1) as thread:
        report = thread.submit(_measured).result()
    made.write_bytes(msgspec.json.encode(report))


def _measured() -> Report:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(measure())
