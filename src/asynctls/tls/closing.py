"""How a connection ends, so that the last that we said is heard; and what a service bounds.

To close a socket while data are still arriving makes the kernel send RST, which destroys what the
peer has not read yet: an alert, or the end of a message. So a close lingers: it ends our direction
and reads on until the peer ends its own, for a while (RFC 5246, section 7.2.1, lets either side
close without waiting; that it should not is TCP's doing, RFC 9293, section 3.10.7.1).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["LINGER_BYTES", "LINGER_S", "PLACE_S", "Gate", "flushed", "hang_up", "linger"]

LINGER_S = 2.0
"""How long a close waits for the peer to end its direction."""

LINGER_BYTES = 1 << 16
"""How much of what still arrives meanwhile is read and discarded."""


PLACE_S = 0.5
"""How long a handshake has its place at a stretch: it ends in that, or its peer lets us wait."""


class Gate:
    """What one service has under way at once: handshakes, and closes that linger.

    Args:
        handshakes: how many handshakes may be under way; others wait, within their time-out.
        lingering: how many closes may linger; past that a connection is closed at once (and a peer
            that still sends may miss its alert).
    """

    def __init__(self, handshakes: int, lingering: int = 64) -> None:
        self._places = asyncio.Semaphore(handshakes)
        self._lingering = lingering
        self.under_way = 0
        """Handshakes under way now."""

    @contextlib.asynccontextmanager
    async def handshake(self) -> AsyncIterator[None]:
        """A place for one handshake, to be left within `PLACE_S`; waits for it, in turn."""
        async with self._places:
            self.under_way += 1
            try:
                yield
            finally:
                self.under_way -= 1

    @contextlib.contextmanager
    def linger(self) -> Iterator[bool]:
        """A place for one lingering close; false where there is none left."""
        if self._lingering <= 0:
            yield False
            return
        self._lingering -= 1
        try:
            yield True
        finally:
            self._lingering += 1


async def flushed(writer: asyncio.StreamWriter) -> None:
    """Wait until the kernel has taken all that was written.

    Raises:
        OSError: the connection was lost first.
    """
    if not writer.transport.is_closing():
        # drain() alone returns while up to the low-water mark is still here.
        writer.transport.set_write_buffer_limits(high=0)
    await writer.drain()


async def linger(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: Gate | None
) -> None:
    """End our direction, wait for the peer to end its own, and close; never longer than `LINGER_S`.

    Nobody else may be reading. Cancelled, it closes at once.
    """
    with gate.linger() if gate is not None else contextlib.nullcontext(enter_result=True) as place:
        try:
            async with asyncio.timeout(LINGER_S):
                await flushed(writer)
                if place and not writer.transport.is_closing():
                    writer.write_eof()
                    await _discard(reader)
        except OSError:
            # Time is up (TimeoutError is one), or the connection is gone already.
            pass
        finally:
            await hang_up(writer)


async def _discard(reader: asyncio.StreamReader) -> None:
    left = LINGER_BYTES
    while left > 0:
        received = await reader.read(left)
        if not received:
            return
        left -= len(received)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close now, whatever is still to be sent, and wait until the socket is closed."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
