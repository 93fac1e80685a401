"""What a program finds on its standard input, however soon it leaves."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

__all__ = ["give", "on_stdin"]


@contextmanager
def on_stdin(content: bytes) -> Iterator[IO[bytes]]:
    """A standard input that is there before the program: nobody has to write to one that left.

    ``communicate(content)`` would: where the program has ended by then uvloop raises RuntimeError.
    """
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


def give(process: asyncio.subprocess.Process, content: bytes) -> None:
    """More for the pipe of a program that may have left, which takes nothing any more."""
    assert process.stdin is not None
    if not process.stdin.is_closing():
        process.stdin.write(content)
