"""A connection that is slow and comes in pieces, by a relay of the tests' own.

Segments that overtake one another cannot be had so: TCP puts them in order before anybody sees it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from tests.listening import listening

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from asynctls.config import Address

__all__ = ["slow_to"]

_MOST_S = 0.01


@asynccontextmanager
async def slow_to(to: Address, chance: random.Random) -> AsyncIterator[str]:
    """Forwards to an address, each piece of a length and after a time that chance has; where."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(chance.choice((1, 7, 100, 5000))):
                await asyncio.sleep(chance.uniform(0, _MOST_S))
                writer.write(piece)
                await writer.drain()
            writer.write_eof()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        further_reader, further_writer = await asyncio.open_connection(to.host, to.port)
        try:
            await asyncio.gather(pump(reader, further_writer), pump(further_reader, writer))
        finally:
            further_writer.close()

    async with listening(carry) as address:
        yield str(address)
