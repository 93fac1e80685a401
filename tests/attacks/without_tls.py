"""The victims with TLS taken away altogether.

Their session runs over bare TCP, so that a test can see what TLS alone had stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from asynctls.errors import TruncatedError
from asynctls.session import ALPN
from asynctls.tls import address_of
from asynctls.tls.direct import Direct
from tests.attacks.victims import Client, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.config import Address
    from asynctls.session import Channel
    from asynctls.tls import Engine

__all__ = ["PlainClient", "PlainServer"]


class _Bytes:
    """What stands where a TLS engine would: bytes in, the same bytes out."""

    def __init__(self) -> None:
        self._arrived = bytearray()
        self._ended = False
        self.to_send: list[bytes] = []

    def receive_data(self, received: bytes) -> None:
        self._arrived += received
        self._ended |= not received

    def read(self, n: int) -> bytes | None:
        found = bytes(self._arrived[:n])
        del self._arrived[:n]
        return found if found or self._ended else None

    @property
    def dry(self) -> bool:
        return not self._arrived

    def data_to_send(self) -> bytes:
        return b""


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
        self._bytes = _Bytes()
        self._direct: Direct | None = None

    def deliver(self, readable: Callable[[], None], /) -> None:
        engine = cast("Engine", self._bytes)
        self._direct = Direct(self._reader, self._writer, engine, readable)

    def read_now(self, n: int, /) -> tuple[bytes | None, bool]:
        assert self._direct is not None
        return self._direct.read(n), self._direct.more

    @property
    def congested(self) -> bool:
        return self._direct is not None and self._direct.congested

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
        if self._direct is not None:
            self._direct.let_go()
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

    async def channel(self, server: Address) -> Channel:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        return _BareTCP(reader, writer, peer_certificate=self.expected, tape=self.tape)


@dataclass(frozen=True)
class PlainServer(Server):
    """A server without TLS, which takes whoever comes for the one that it expects."""

    expected: bytes = b""

    async def channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Channel:
        return _BareTCP(reader, writer, peer_certificate=self.expected, tape=[])
