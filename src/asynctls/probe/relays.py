"""Mallory's tools: two relays that she puts between a client and a server.

`forwarding` has no keys. It carries TLS records, may alter, repeat or drop each one, and remembers
all that went by: this is what anybody on the network can do. `play` sends a recording again.

`ending_tls` is the man in the middle proper: a TLS server towards the client and a TLS client
towards the server, each with a certificate of hers, so that she has the plaintext in between. What
she does with it is a `Carry`: `as_it_is` forwards the bytes unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.config import Address
from asynctls.errors import HandshakeError, TruncatedError
from asynctls.probe.attack import PATIENCE_S
from asynctls.probe.offers import say
from asynctls.tls import Gate, Stream

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from asynctls.alerts import Alert

__all__ = [
    "Alter",
    "Carry",
    "EndingTLS",
    "Forwarding",
    "LetIn",
    "Played",
    "as_it_is",
    "ending_tls",
    "everybody",
    "forwarding",
    "listening",
    "play",
    "unaltered",
]

_LIMIT_S = 10.0
"""A relay does nothing for longer."""


@dataclass(frozen=True, slots=True)
class LetIn:
    """The verdict of somebody who does not care."""

    alert: Alert | None = None
    reason: str = ""


def everybody(certificate: bytes | None, alpn: str | None) -> LetIn:  # noqa: ARG001 - an `Admit`
    """Let in whoever comes."""
    return LetIn()


@asynccontextmanager
async def listening(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Address]:
    """Serves TCP on a loopback port of its own, and leaves no connection and no task behind.

    What a connection's task raised is raised here, so that a fault of the attack's own is no
    success of the defence.

    Args:
        handler: serves a connection; it is closed after that.
        patience_s: how long connections may go on at the end, in seconds.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        # It may be cancelled before it began.
        task.add_done_callback(lambda _task: writer.transport.abort())

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", listener.sockets[0].getsockname()[1])
        if tasks:
            done, _ = await asyncio.wait(tasks, timeout=patience_s)
            for each in done:
                each.result()
    finally:
        listener.close()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


# Without keys

Alter = Callable[[bytes], bytes]
"""What to send on in place of one TLS record (with its header): itself, another, or nothing."""


def unaltered(record: bytes) -> bytes:
    """The honest relay."""
    return record


class Forwarding:
    """A relay that forwards records, and its recording of both directions as they were sent."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 0)
        self.from_client: list[bytes] = []
        self.from_server: list[bytes] = []
        self.directions: list[asyncio.Task[None]] = []

    def cut(self) -> None:
        """Cuts the connection in both directions; what has gone by has arrived."""
        for each in self.directions:
            each.cancel()

    @property
    def recording(self) -> bytes:
        """Every byte that went by, in both directions."""
        return b"".join(self.from_client + self.from_server)


@asynccontextmanager
async def forwarding(
    to: Address, *, from_client: Alter = unaltered, from_server: Alter = unaltered
) -> AsyncIterator[Forwarding]:
    """A relay that forwards each connection, altering it on the way."""
    relay = Forwarding()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        further_reader, further_writer = await asyncio.open_connection(to.host, to.port)
        try:
            async with asyncio.timeout(_LIMIT_S), asyncio.TaskGroup() as both:
                relay.directions += (
                    both.create_task(
                        _forward(reader, further_writer, from_client, relay.from_client)
                    ),
                    both.create_task(
                        _forward(further_reader, writer, from_server, relay.from_server)
                    ),
                )
            for each in (writer, further_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()
        finally:
            further_writer.transport.abort()

    async with listening(carry) as relay.address:
        yield relay


async def _forward(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, alter: Alter, tape: list[bytes]
) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while True:
            header = await source.readexactly(5)
            record = header + await source.readexactly(int.from_bytes(header[3:]))
            tape.append(record)
            if sink.is_closing():
                return
            sink.write(alter(record))
            await sink.drain()
    if not sink.is_closing():
        with contextlib.suppress(OSError):
            sink.write_eof()


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a recording that was sent again.

    Attributes:
        answer: every byte that came back.
        closed: whether the connection was closed from there; else we lost patience with it.
    """

    answer: bytes
    closed: bool


async def play(recorded: bytes, to: Address, *, patience_s: float = PATIENCE_S) -> Played:
    """Send a recording, byte for byte; what comes back until the end, or until we lose patience.

    Raises:
        OSError: nobody is there.
    """
    async with asyncio.timeout(patience_s):
        reader, writer = await asyncio.open_connection(to.host, to.port)
    answer, closed = b"", True
    try:
        async with asyncio.timeout(patience_s):
            say(writer, recorded)
            while piece := await reader.read(1 << 16):
                answer += piece
    except TimeoutError:
        closed = False
    except OSError:
        # A reset is an end as well.
        pass
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Played(answer, closed)


# With certificates

Carry = Callable[["EndingTLS", Stream, Stream], Awaitable[None]]
"""Brings what comes from the client (first) to the server (second), and back."""


class EndingTLS:
    """A relay that ends TLS; what it read in clear, and who showed it the door and why."""

    def __init__(self) -> None:
        self.address = Address("127.0.0.1", 0)
        self.read = bytearray()
        self.refused_by_client: HandshakeError | None = None
        self.refused_by_server: HandshakeError | None = None


@asynccontextmanager
async def ending_tls(
    to: Address,
    *,
    towards_client: ssl.SSLContext,
    towards_server: ssl.SSLContext,
    carry: Carry,
) -> AsyncIterator[EndingTLS]:
    """A relay that shows the client one certificate and the server another.

    Args:
        to: the server's address.
        towards_client: a server's context: whom she is towards the client.
        towards_server: a client's, likewise; it should verify nothing, for she takes whatever the
            server shows.
        carry: what she does once both have let her in.
    """
    relay = EndingTLS()
    gate = Gate(1)

    async def relayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            client = await Stream.accept(
                reader, writer, towards_client, admit=everybody, gate=gate, timeout_s=_LIMIT_S
            )
        except HandshakeError as error:
            relay.refused_by_client = error
            return
        try:
            server = await Stream.connect(
                *await asyncio.open_connection(to.host, to.port),
                towards_server,
                server_hostname=None,
                admit=everybody,
                timeout_s=_LIMIT_S,
            )
        except HandshakeError as error:
            relay.refused_by_server = error
            await client.close()
            return
        try:
            async with asyncio.timeout(_LIMIT_S):
                await carry(relay, client, server)
        finally:
            server.abort()

    async with listening(relayed) as relay.address:
        yield relay


async def as_it_is(relay: EndingTLS, client: Stream, server: Stream) -> None:
    """Forward the session's bytes unchanged, reading along."""

    async def forward(source: Stream, sink: Stream) -> None:
        with contextlib.suppress(TruncatedError):
            while piece := await source.read():
                relay.read += piece
                sink.write(piece)
                await sink.drain()
        sink.write_eof()

    async with asyncio.TaskGroup() as both:
        both.create_task(forward(client, server))
        both.create_task(forward(server, client))
    await client.close()
    await server.close()
