"""What the targets of a process share: a folder for files, and a loop for what never waits."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["completed", "scratch_folder"]

_T = TypeVar("_T")


@cache
def scratch_folder(name: str) -> Path:
    """An empty folder of that name, which ends with the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"asynctls-fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def completed(work: Coroutine[object, None, _T]) -> _T:
    """What ``work`` gives; a loop of its own for each would take most of the time."""
    return _loop().run_until_complete(work)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.SelectorEventLoop()
    atexit.register(loop.close)
    return loop
