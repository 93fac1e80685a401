"""Connections to live daemons on which something is changed: a flight, a frame, a request.

Each says its part, then that it is done, and waits for the daemon to be done as well: one that
holds on to a connection whose other end has left is a find.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from asynctls.errors import SessionError
from asynctls.session.keys import binding
from asynctls.session.protocol import Protocol
from asynctls.session.states import Role
from tests.fuzz.mutations import changed
from tests.fuzz.tls_mutations import changed_flight

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable

    from asynctls.config import Address

__all__ = ["Connection", "HeldOn", "change_one_flight", "connected", "say_changed_frames"]

PATIENCE_S: Final = 30.0
_READ_BYTES: Final = 1 << 16


class HeldOn(Exception):  # noqa: N818 - it says what happened
    """A daemon did not end a connection that its peer had left."""


@dataclass
class Connection:
    """A TCP connection, and TLS over it, whose flights out are changed on their way.

    Attributes:
        change: what becomes of a flight, by its number.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    change: Callable[[int, bytes], bytes] = lambda _, flight: flight
    tls: ssl.SSLObject | None = None
    flights: int = 0

    def __post_init__(self) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def shake_hands(
        self, context: ssl.SSLContext, *, server_side: bool, name: str | None = None
    ) -> bool:
        """A handshake; whether it came about for this end."""
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=name
        )
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._more():
                    return False
            except ssl.SSLError:
                await self._flush()
                return False
            else:
                await self._flush()
                return True

    async def say(self, words: bytes) -> None:
        """Sends them, over TLS where there is any."""
        if self.tls is None:
            self.writer.write(words)
            await self._drain()
            return
        with contextlib.suppress(ssl.SSLError):
            self.tls.write(words)
        await self._flush()

    async def hear(self) -> bytes:
        """What comes next, over TLS; nothing at its end, however it ends."""
        assert self.tls is not None
        while True:
            try:
                return self.tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                if not await self._more():
                    return b""
            except ssl.SSLError:
                return b""

    async def leave(self) -> None:
        """Says that this was all, and waits until the other end is done."""
        # The second is uvloop's, of a connection that has gone.
        with contextlib.suppress(OSError, RuntimeError):
            self.writer.write_eof()
        try:
            async with asyncio.timeout(PATIENCE_S):
                with contextlib.suppress(OSError):
                    while await self.reader.read(_READ_BYTES):
                        pass
        except TimeoutError:
            raise HeldOn(f"a connection was held on for {PATIENCE_S:g} s") from None

    async def _more(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_S):
                received = await self.reader.read(_READ_BYTES)
        except OSError:
            return False
        self._incoming.write(received)
        return bool(received)

    async def _flush(self) -> None:
        flight = self._outgoing.read()
        if flight:
            self.writer.write(self.change(self.flights, flight))
            self.flights += 1
        await self._drain()

    async def _drain(self) -> None:
        with contextlib.suppress(OSError):
            await self.writer.drain()


@contextlib.asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Connection]:
    """A connection that is left, and was ended, when the context ends."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    connection = Connection(reader, writer)
    try:
        yield connection
        await connection.leave()
    finally:
        writer.transport.abort()


def change_one_flight(chance: random.Random, among: int) -> Callable[[int, bytes], bytes]:
    """Changes one of the first ``among`` flights."""
    which = chance.randrange(among)
    return lambda number, flight: changed_flight(flight, chance) if number == which else flight


async def say_changed_frames(
    connection: Connection, role: Role, own: bytes, chance: random.Random
) -> None:
    """Opens a session and says something in it, one frame of it changed.

    Args:
        connection: its handshake has come about.
        role: this end's.
        own: this end's certificate, DER.
        chance: decides.
    """
    tls = connection.tls
    assert tls is not None
    peer, unique = tls.getpeercert(binary_form=True), tls.get_channel_binding("tls-unique")
    assert peer is not None
    assert unique is not None
    client, server = (own, peer) if role is Role.CLIENT else (peer, own)
    protocol = Protocol(
        role,
        binding(client_certificate=client, server_certificate=server, tls_unique=unique),
        max_message_bytes=1 << 20,
    )
    which, number = chance.randrange(4), 0
    with contextlib.suppress(SessionError):
        while number <= which:
            for _, frame in protocol.frames_to_send():
                await connection.say(_changed_frame(frame, chance) if number == which else frame)
                number += 1
            if protocol.opened:
                for sequence in protocol.send_message(b"words" * 9, receipt_wanted=True):
                    assert sequence
            elif not (received := await connection.hear()):
                return
            else:
                protocol.receive_data(received)
                while protocol.next_event() is not None:
                    pass


def _changed_frame(frame: bytes, chance: random.Random) -> bytes:
    match chance.randrange(5):
        case 0:
            return frame * 2
        case 1:
            return frame[: chance.randrange(len(frame))]
        case 2:
            return chance.randbytes(chance.choice((1, 100, 20_000)))
    return changed(frame, chance)
