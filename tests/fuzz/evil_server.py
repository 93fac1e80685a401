"""A server by a good certificate that breaks the rules when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

from asynctls.config import Address
from asynctls.session import ALPN
from asynctls.session.states import Role
from asynctls.tls import server_context
from tests.fuzz.attempts import Connection, change_one_flight, say_changed_frames

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterator

    from asynctls.enrolment import Identity

__all__ = ["EvilServer"]

_WORDS: Final = b"asynctls fuzzing"


class EvilServer:
    """A server by a good certificate that changes a flight or a frame when it is told to.

    Else it passes on what comes to an honest one.
    """

    def __init__(self, identity: Identity) -> None:
        chain, key = identity.certificate_file, identity.key_file
        self._identity = identity
        self._context = server_context(trust=identity.trust, chain=chain, key=key, alpn=[ALPN])
        self._chances: deque[random.Random] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def doing(self, chance: random.Random) -> Iterator[None]:
        """What it does to one who comes while the context lasts is by chance."""
        self._chances.append(chance)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):
                self._chances.remove(chance)

    @contextlib.asynccontextmanager
    async def beside(self, honest: Address) -> AsyncIterator[Address]:
        """Listens in the place of an honest server; its address."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(Connection(reader, writer), honest))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        try:
            yield Address(*listener.sockets[0].getsockname()[:2])
        finally:
            listener.close()
            await asyncio.gather(*self._tasks)
            await listener.wait_closed()

    async def _serve(self, connection: Connection, honest: Address) -> None:
        try:
            with contextlib.suppress(OSError, RuntimeError):
                if self._chances:
                    await self._misbehave(connection, self._chances.popleft())
                else:
                    await _pass_on(connection, honest)
        finally:
            connection.writer.transport.abort()

    async def _misbehave(self, connection: Connection, chance: random.Random) -> None:
        talks = chance.random() < 0.5
        if not talks:
            connection.change = change_one_flight(chance, 3)
        if await connection.shake_hands(self._context, server_side=True):
            assert connection.tls is not None
            if talks and connection.tls.selected_alpn_protocol():
                own = self._identity.certificate
                await say_changed_frames(connection, Role.SERVER, own, chance)
            else:
                await connection.say(_WORDS)
        await connection.leave()


async def _pass_on(connection: Connection, honest: Address) -> None:
    reader, writer = await asyncio.open_connection(honest.host, honest.port)
    try:
        await asyncio.gather(_copy(connection.reader, writer), _copy(reader, connection.writer))
    finally:
        writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(1 << 16):
        writer.write(content)
        await writer.drain()
    writer.write_eof()
