"""Two ways to speak the session protocol without its rules.

An `Insider` is a member with keys of its own that puts frames on the wire by hand. What it can do
is what anybody could who has got hold of a session's keys, or of its plaintext.

`PlainClient` and `PlainServer` are the victims with TLS taken away altogether: their session runs
over bare TCP, so that a test can see what TLS alone had stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asynctls.errors import TruncatedError
from asynctls.mac import Secret
from asynctls.session import ALPN, Channel
from asynctls.session.frames import Frame, Opener, Ready, Sealer
from asynctls.session.keys import binding, derive
from asynctls.session.states import Role
from asynctls.tls import address_of
from tests.attacks.victims import LIMIT_S, Client, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Insider", "PlainClient", "PlainServer", "inside"]


class Insider:
    """A client that seals frames and sends them as it likes; `sent` is what it sent, in clear."""

    def __init__(self, client: Client, channel: Channel, secret: Secret) -> None:
        assert channel.peer_certificate is not None
        assert channel.tls_unique is not None
        seen = binding(
            client_certificate=client.holder.certificate,
            server_certificate=channel.peer_certificate,
            tls_unique=channel.tls_unique,
        )
        keys = derive(secret, seen)
        self.seal = Sealer(Role.CLIENT, keys.client)
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self._channel = channel
        self._opener = Opener(Role.SERVER, keys.server)

    async def send(self, *frames: bytes) -> None:
        """Put frames on the wire, whatever they are."""
        for frame in frames:
            self.sent.append(frame)
            self._channel.write(frame)
        await self._channel.drain()

    async def answer(self) -> Frame | None:
        """The server's next frame; None when it says no more."""
        async with asyncio.timeout(LIMIT_S):
            while (frame := self._opener.next_frame()) is None:
                piece = await self._channel.read(1 << 16)
                if not piece:
                    return None
                self.received.append(piece)
                self._opener.receive_data(piece)
        return frame

    async def last_answer(self) -> Frame | None:
        """The last frame before the server says no more."""
        last = None
        while (frame := await self.answer()) is not None:
            last = frame
        return last


@asynccontextmanager
async def inside(
    client: Client, port: int, *, secret: Secret | None = None
) -> AsyncIterator[Insider]:
    """A session that stands, opened by hand: KEY was sent and READY has come."""
    secret = secret or Secret.random()
    channel = await client.channel(port)
    try:
        insider = Insider(client, channel, secret)
        await insider.send(insider.seal.key(secret, max_message_bytes=1 << 20))
        assert isinstance(await insider.answer(), Ready)
        yield insider
    finally:
        await channel.close()


# Without TLS


class _BareTCP:
    """A channel that claims what TLS would prove."""

    alpn = ALPN
    extended_master_secret = True
    tls_unique = b"there is none"

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        peer_certificate: bytes,
        tape: list[bytes],
    ) -> None:
        self.peer_address = address_of(writer)
        self.peer_certificate = peer_certificate
        self._reader = reader
        self._writer = writer
        self._tape = tape

    async def read(self, n: int, /) -> bytes:
        try:
            return await self._reader.read(n)
        except OSError as error:
            raise TruncatedError("reset") from error

    def write(self, plaintext: bytes, /) -> int:
        self._tape.append(plaintext)
        self._writer.write(plaintext)
        return len(plaintext)

    async def drain(self) -> None:
        await self._writer.drain()

    async def flush(self) -> None:
        await self._writer.drain()

    def allow_stalls(self) -> None:
        pass

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.transport.abort()


@dataclass(frozen=True)
class PlainClient(Client):
    """A client without TLS; ``tape`` has every frame that it sent, as anybody could record it."""

    expected: bytes = b""
    tape: list[bytes] = field(default_factory=list)

    async def channel(self, port: int) -> Channel:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return _BareTCP(reader, writer, peer_certificate=self.expected, tape=self.tape)


@dataclass(frozen=True)
class PlainServer(Server):
    """A server without TLS, which takes whoever comes for the one that it expects."""

    expected: bytes = b""

    async def channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Channel:
        return _BareTCP(reader, writer, peer_certificate=self.expected, tape=[])
