"""Mallory's tools: two relays that she puts between a client and a server.

`forwarding` has no keys. It carries TLS records, may alter, repeat or drop each one, and remembers
all that went by: this is what anybody on the network can do. `play` sends a recording again.

`ending_tls` is the man in the middle proper: a TLS server towards the client and a TLS client
towards the server, each with a certificate of hers, so that she has the plaintext in between. What
she does with it is a `Carry`: `as_it_is` forwards the bytes unchanged, `message_by_message` speaks
the session protocol on both legs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.errors import HandshakeError, TruncatedError
from asynctls.session import ALPN, Session
from asynctls.tls import Gate, Stream, client_context_for_any_host, server_context
from tests.attacks.victims import LIMIT_S, everybody, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.attacks.world import Holder, World

__all__ = [
    "Alter",
    "EndingTLS",
    "Forwarding",
    "as_it_is",
    "ending_tls",
    "forwarding",
    "message_by_message",
    "play",
    "unaltered",
]


# Without keys

Alter = Callable[[bytes], bytes]
"""What to send on in place of one TLS record (with its header): itself, another, or nothing."""


def unaltered(record: bytes) -> bytes:
    """The honest relay."""
    return record


class Forwarding:
    """A relay that forwards records, and its recording of both directions as they were sent."""

    def __init__(self) -> None:
        self.port = 0
        self.from_client: list[bytes] = []
        self.from_server: list[bytes] = []

    @property
    def recording(self) -> bytes:
        """Every byte that went by, in both directions."""
        return b"".join(self.from_client + self.from_server)


@asynccontextmanager
async def forwarding(
    to: int, *, from_client: Alter = unaltered, from_server: Alter = unaltered
) -> AsyncIterator[Forwarding]:
    """A relay that forwards each connection to the port ``to``, altering it on the way."""
    relay = Forwarding()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        further_reader, further_writer = await asyncio.open_connection("127.0.0.1", to)
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as both:
            both.create_task(_forward(reader, further_writer, from_client, relay.from_client))
            both.create_task(_forward(further_reader, writer, from_server, relay.from_server))
        for each in (writer, further_writer):
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()

    async with listening(carry) as relay.port:
        yield relay


async def _forward(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, alter: Alter, tape: list[bytes]
) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, OSError):
        while True:
            header = await source.readexactly(5)
            record = header + await source.readexactly(int.from_bytes(header[3:]))
            tape.append(record)
            sink.write(alter(record))
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()


async def play(recorded: bytes, port: int) -> bytes:
    """Send a recording, byte for byte; what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(LIMIT_S):
        writer.write(recorded)
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answer


# With certificates

Carry = Callable[["EndingTLS", Stream, Stream], Awaitable[None]]
"""Brings what comes from the client (first) to the server (second), and back."""


@dataclass(frozen=True, slots=True)
class _Certificates:
    towards_client: Holder
    towards_server: Holder


class EndingTLS:
    """A relay that ends TLS; what it read in clear, and who showed it the door and why."""

    def __init__(self, certificates: _Certificates) -> None:
        self.port = 0
        self.certificates = certificates
        self.read = bytearray()
        self.refused_by_client: HandshakeError | None = None
        self.refused_by_server: HandshakeError | None = None


@asynccontextmanager
async def ending_tls(
    to: int,
    *,
    world: World,
    towards_client: Holder,
    towards_server: Holder,
    carry: Carry,
) -> AsyncIterator[EndingTLS]:
    """A relay that shows the client one certificate and the server another.

    Args:
        to: the server's port.
        world: whose certificates the victims have. Mallory asks for the client's, to look real,
            and takes whatever the server shows.
        towards_client: whom she is towards the client.
        towards_server: whom she is towards the server.
        carry: what she does once both have let her in.
    """
    relay = EndingTLS(_Certificates(towards_client, towards_server))
    accepting = server_context(
        chain=towards_client.chain, key=towards_client.key, trust=world.trust, alpn=[ALPN]
    )
    connecting = client_context_for_any_host(
        trust=world.trust, chain=towards_server.chain, key=towards_server.key, alpn=[ALPN]
    )
    connecting.verify_mode = ssl.CERT_NONE
    gate = Gate(1)

    async def relayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            client = await Stream.accept(
                reader, writer, accepting, admit=everybody, gate=gate, timeout_s=LIMIT_S
            )
        except HandshakeError as error:
            relay.refused_by_client = error
            return
        try:
            server = await Stream.connect(
                *await asyncio.open_connection("127.0.0.1", to),
                connecting,
                server_hostname=None,
                admit=everybody,
                timeout_s=LIMIT_S,
            )
        except HandshakeError as error:
            relay.refused_by_server = error
            await client.close()
            return
        async with asyncio.timeout(LIMIT_S):
            await carry(relay, client, server)

    async with listening(relayed) as relay.port:
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


async def message_by_message(relay: EndingTLS, client: Stream, server: Stream) -> None:
    """Be a server to the client and a client to the server, with a session for each."""
    assert client.peer_certificate is not None
    assert server.peer_certificate is not None

    async def forward(source: Session, sink: Session) -> None:
        async for message in source:
            relay.read += message
            await sink.send(message)
        await sink.finish_sending()

    async with (
        Session.accept(
            client,
            own_certificate=relay.certificates.towards_client.certificate,
            peer=Peer.of(client.peer_certificate),
        ) as with_client,
        Session.connect(
            server,
            own_certificate=relay.certificates.towards_server.certificate,
            peer=Peer.of(server.peer_certificate),
        ) as with_server,
        asyncio.TaskGroup() as both,
    ):
        both.create_task(forward(with_client, with_server))
        both.create_task(forward(with_server, with_client))
