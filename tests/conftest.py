"""What every test can ask for: both event loops, and the other programs that some compare with."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Program = Callable[[str], Path]

_missing: set[str] = set()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, LoopFactory]:
    """Every asynchronous test runs twice: what holds on one loop must hold on the other."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def program() -> Program:
    """Finds another program by name, or skips the test where there is none."""

    def find(name: str) -> Path:
        found = shutil.which(name)
        if found is None:
            _missing.add(name)
            pytest.skip(f"{name} is not installed ('make peers' installs it)")
        return Path(found)

    return find


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line which programs were missing, whatever number of tests wanted them."""
    if _missing:
        names = ", ".join(sorted(_missing))
        terminalreporter.write_line(f"Programs not found, their comparisons skipped: {names}")
