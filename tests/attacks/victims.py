"""The client and the server that are attacked, made of the same parts as the roles.

Each defence that TLS and `admit` give is a field, so that a counter-test says with
`dataclasses.replace` which one it takes away, and nothing else changes.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asynctls.admission import Peer, Rules, admit, allow_list
from asynctls.config import Address
from asynctls.errors import HandshakeError, SessionError
from asynctls.pki.profiles import Profile
from asynctls.probe.attack import Target
from asynctls.probe.insider import inside
from asynctls.probe.relays import listening
from asynctls.session import ALPN, Channel, Session
from asynctls.tls import Gate, Stream, client_context, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence

    from asynctls.mac import Secret
    from asynctls.probe.insider import Insider
    from asynctls.tls import Admit
    from tests.attacks.world import Holder, World

__all__ = [
    "LIMIT_S",
    "OTP",
    "PIN",
    "Client",
    "Served",
    "Server",
    "checked",
    "client_of",
    "server_of",
    "talk",
    "target_of",
]

LIMIT_S = 10.0
"""No wait in these tests is longer."""

PIN = b"The PIN of my account is 4711."
"""What the client tells the server, and nobody else should read."""

OTP = b"The OTP for transferring Rs 1,00,000 to your friend's account is 256345."
"""What the server answers."""


def checked(world: World, allow: Sequence[str]) -> Admit:
    """`admit` as the roles ask it, with an allow list and a current CRL."""
    rules = Rules(allow=allow_list(allow), crls=(world.crl,), alpn=ALPN)
    return lambda certificate, alpn: admit(certificate, alpn, now=datetime.now(UTC), rules=rules)


# The client


@dataclass(frozen=True)
class Client:
    """A client with all its defences: what it verifies, whom it admits, whom it expects."""

    holder: Holder
    context: ssl.SSLContext
    admit: Admit
    server_name: str | None = "server"

    async def stream(self, server: Address) -> Stream:
        """The TLS connection alone."""
        reader, writer = await asyncio.open_connection(server.host, server.port)
        return await Stream.connect(
            reader,
            writer,
            self.context,
            server_hostname=self.server_name,
            admit=self.admit,
            timeout_s=LIMIT_S,
        )

    async def channel(self, server: Address) -> Channel:
        """What the session runs in."""
        return await self.stream(server)

    @asynccontextmanager
    async def session(self, server: Address) -> AsyncIterator[Session]:
        """The session on top of it."""
        channel = await self.channel(server)
        assert channel.peer_certificate is not None
        async with Session.connect(
            channel,
            own_certificate=self.holder.certificate,
            peer=Peer.of(channel.peer_certificate),
        ) as session:
            yield session

    @asynccontextmanager
    async def inside(
        self, server: Address, *, secret: Secret | None = None
    ) -> AsyncIterator[Insider]:
        """A session whose frames are put on the wire by hand."""
        async with inside(
            await self.channel(server),
            certificate=self.holder.certificate,
            secret=secret,
            patience_s=LIMIT_S,
        ) as insider:
            yield insider


def client_of(world: World, holder: Holder) -> Client:
    """A client that is set up as the role is."""
    return Client(
        holder=holder,
        context=client_context(trust=world.trust, chain=holder.chain, key=holder.key, alpn=[ALPN]),
        admit=checked(world, ["any"]),
    )


async def talk(client: Client, server: Address) -> bytes:
    """What every client does: it tells its PIN, and gets an OTP."""
    async with asyncio.timeout(LIMIT_S), client.session(server) as session:
        await session.send(PIN, receipt=True)
        return await session.receive()


# The server


@dataclass(frozen=True)
class Server:
    """A server with all its defences; its app greets, takes messages, answers each with an OTP."""

    holder: Holder
    context: ssl.SSLContext
    admit: Admit
    gate: Gate = field(default_factory=lambda: Gate(8))
    greeting: bytes | None = None

    async def channel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Channel:
        """What the session runs in."""
        return await Stream.accept(
            reader, writer, self.context, admit=self.admit, gate=self.gate, timeout_s=LIMIT_S
        )

    @asynccontextmanager
    async def serving(self, kind: type[Served] | None = None) -> AsyncIterator[Served]:
        """The server on a loopback port of its own, with the app of that kind."""
        served = (kind or Served)(self)
        async with listening(served.serve, patience_s=LIMIT_S) as served.address:
            yield served


class Served:
    """A server that runs: where, what its app was told by whom, and how each connection ended."""

    def __init__(self, server: Server) -> None:
        self.address = Address("127.0.0.1", 0)
        self.told: list[tuple[str, bytes]] = []
        self._server = server
        self._ends: asyncio.Queue[HandshakeError | SessionError | None] = asyncio.Queue()

    async def end(self) -> HandshakeError | SessionError | None:
        """How the next connection to end has ended; None for well."""
        async with asyncio.timeout(LIMIT_S):
            return await self._ends.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, as `asynctls.server` does it."""
        try:
            await self._talk(await self._server.channel(reader, writer))
        except (HandshakeError, SessionError) as error:
            self._ends.put_nowait(error)
        else:
            self._ends.put_nowait(None)

    async def _talk(self, channel: Channel) -> None:
        if channel.peer_certificate is None:
            await channel.close()
            raise HandshakeError("no session with somebody who shows no certificate")
        async with Session.accept(
            channel,
            own_certificate=self._server.holder.certificate,
            peer=Peer.of(channel.peer_certificate),
        ) as session:
            await self.app(session)

    async def app(self, session: Session) -> None:
        """Takes down what it is told."""
        if self._server.greeting is not None:
            await session.send(self._server.greeting)
        async for message in session:
            self.told.append((session.peer.name, message))
            await session.send(OTP)


def server_of(world: World, holder: Holder, *, allow: Sequence[str] = ("client",)) -> Server:
    """A server that is set up as the role is."""
    return Server(
        holder=holder,
        context=server_context(chain=holder.chain, key=holder.key, trust=world.trust, alpn=[ALPN]),
        admit=checked(world, allow),
    )


# The target of a playbook's attack


def target_of(world: World, address: Address, *, sessions: bool = True) -> Target:
    """A victim as the probe sees it; we are the client, whom it lets in."""
    return Target(
        address,
        world.identity("client", Profile.CLIENT),
        server=Peer.of(world.holder("server", Profile.SERVER).certificate),
        sessions=sessions,
        ttp=world.certifier(),
    )
