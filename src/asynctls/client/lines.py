"""Standard input as messages: each line is one, without its end.

It is read by a thread that nothing waits for, a block at a time and only when more is wanted, so
that an endless input costs no memory and a silent one keeps nothing from ending.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import Final

from asynctls.errors import InputError
from asynctls.runtime import SideThread

__all__ = ["Lines"]

_BLOCK_BYTES: Final = 64 * 1024
_LONGEST_BYTES: Final = 1 << 30  # No receiver can be configured to take more.


class Lines:
    """The lines of a file descriptor, in order; cancelling the wait for one loses nothing."""

    def __init__(self, descriptor: int) -> None:
        """Nothing is read yet; 0 is standard input."""
        self._descriptor = descriptor
        self._thread = SideThread("standard input")
        self._reading: asyncio.Future[bytes] | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._ended = False

    async def next(self) -> bytes | None:
        """The next line without its line feed; None when there is no more.

        Raises:
            InputError: it cannot be read, or the line is longer than any message.
        """
        while (line := self._line()) is None and not self._ended:
            if len(self._buffer) > _LONGEST_BYTES:
                raise InputError(
                    f"a line of standard input is longer than {_LONGEST_BYTES} bytes: "
                    "no message may be as large"
                )
            block = await self._block()
            self._buffer += block
            self._ended = not block
        if line is None and self._buffer:
            line = bytes(self._buffer)
            self._buffer.clear()
        return line

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    async def _block(self) -> bytes:
        if self._reading is None:
            self._reading = self._thread.call(partial(os.read, self._descriptor, _BLOCK_BYTES))
        try:
            block = await asyncio.shield(self._reading)
        except OSError as error:
            raise InputError(f"standard input cannot be read: {error.strerror}") from error
        self._reading = None
        return block
