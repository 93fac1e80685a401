"""How a connection ends, so that the last that we said is heard.

To close a socket while data are still arriving makes the kernel send RST, which destroys what the
peer has not read yet: an alert, or the end of a message. So a close lingers: it ends our direction
and reads on until the peer ends its own, for a while (RFC 5246, section 7.2.1, lets either side
close without waiting; that it should not is TCP's doing, RFC 9293, section 3.10.7.1).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from asynctls.tls.addresses import network_of

if TYPE_CHECKING:
    from asynctls.tls.gate import Gate

__all__ = ["LINGER_BYTES", "LINGER_S", "flushed", "hang_up", "linger"]

LINGER_S = 2.0
"""How long a close waits for the peer to end its direction."""

LINGER_BYTES = 1 << 16
"""How much of what still arrives meanwhile is read and discarded."""


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
    always = contextlib.nullcontext(enter_result=True)
    with always if gate is None else gate.linger(network_of(writer)) as place:
        try:
            async with asyncio.timeout(LINGER_S):
                if writer.transport.get_write_buffer_size():
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
