"""Machines of a test's own, as far as namespaces can be that: a shell in each does what it is told.

Where this user or this kernel may not, the test is skipped, with what was refused.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.given import give

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Machine", "machine"]

_NEEDS = ("unshare", "nsenter")


class Machine:
    """Namespaces, which end with the shell that made them and the last program in them."""

    def __init__(self, shell: asyncio.subprocess.Process, kinds: tuple[str, ...]) -> None:
        self._shell = shell
        self._kinds = kinds

    @property
    def pid(self) -> int:
        """Whose namespaces they are."""
        return self._shell.pid

    @property
    def enter(self) -> tuple[str, ...]:
        """What a program is run by to be in them."""
        kinds = (f"--{kind}" for kind in ("user", *self._kinds))
        return ("nsenter", "--target", str(self.pid), *kinds, "--preserve-credentials", "--")

    async def does(self, *lines: str) -> None:
        """Has the shell do that; skips the test where one is refused."""
        assert self._shell.stdout is not None
        for line in lines:
            give(self._shell, f"{{ {line}\n}} 2>&1; echo; echo ended $?\n".encode())
            said = b""
            while not (answer := await self._shell.stdout.readline()).startswith(b"ended "):
                if not answer:
                    pytest.skip(f"this user may have no namespaces of {self._kinds}: {said!r}")
                said += answer
            if answer != b"ended 0\n":
                pytest.skip(f"refused here: {line}: {said.decode().strip()}")


@asynccontextmanager
async def machine(*kinds: str, beside: Machine | None = None) -> AsyncIterator[Machine]:
    """Namespaces of these kinds (``mount``, ``net``), and of users; ``beside`` has the users."""
    missing = [name for name in _NEEDS if shutil.which(name) is None]
    if missing or sys.platform != "linux":
        pytest.skip(f"namespaces need Linux and its program {' and '.join(missing or _NEEDS)}")
    inside = () if beside is None else beside.enter
    users = ("--map-root-user",) if beside is None else ()
    shell = await asyncio.create_subprocess_exec(
        *(*inside, "unshare", *users, *(f"--{kind}" for kind in kinds), "sh"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert shell.stdin is not None
    try:
        made = Machine(shell, kinds)
        await made.does(":")
        yield made
    finally:
        shell.stdin.close()
        await shell.wait()
