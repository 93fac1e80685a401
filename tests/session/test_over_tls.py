"""Sessions over real TLS 1.2 connections on loopback, on both loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynctls.admission import Peer
from asynctls.errors import (
    BindingMismatchError,
    ErrorCode,
    HandshakeError,
    SessionRefusedError,
    SessionTruncatedError,
)
from asynctls.pki.certificates import to_der, to_pem
from asynctls.pki.keys import KeyType, generate_now, key_to_pem
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root
from asynctls.session import ALPN, FrameType, Session
from asynctls.tls import Gate, Stream, client_context, server_context

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from asynctls.alerts import Alert

DAY = timedelta(days=1)
Handler = Callable[[Stream], Awaitable[None]]


class LetIn:
    """A verdict that lets everybody in: what is decided is not these tests' point."""

    alert: Alert | None = None
    reason = ""


def let_in(certificate: bytes | None, alpn: str | None) -> LetIn:
    return LetIn()


@dataclass
class Holder:
    certificate: bytes
    chain: Path
    key: Path


class World:
    """A CA, a server and a client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        now = datetime.now(UTC)
        root_key, issuing_key = (generate_now(KeyType.ECDSA_P256) for _ in range(2))
        root = Issuer(make_root(root_key, lifetime=10 * DAY, now=now), root_key)
        self._issuer = Issuer(
            make_issuing(issuing_key.public_key(), issuer=root, lifetime=9 * DAY, now=now),
            issuing_key,
        )
        self._trust = to_pem(self._issuer.certificate, root.certificate)
        self.server = self.holder("server", Profile.SERVER)
        self.client = self.holder("client", Profile.CLIENT)

    def holder(self, name: str, profile: Profile) -> Holder:
        key = generate_now(KeyType.ECDSA_P256)
        certificate = issue(
            profile,
            issuer=self._issuer,
            public_key=key.public_key(),
            sans=(name,),
            lifetime=DAY,
            now=datetime.now(UTC),
        )
        chain, keys = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        chain.write_text(to_pem(certificate, self._issuer.certificate))
        keys.write_bytes(key_to_pem(key))
        return Holder(to_der(certificate), chain, keys)

    def server_context(self) -> ssl.SSLContext:
        mine = self.server
        return server_context(trust=self._trust, chain=mine.chain, key=mine.key, alpn=(ALPN,))

    def client_context(self, *, alpn: str = ALPN) -> ssl.SSLContext:
        mine = self.client
        return client_context(trust=self._trust, chain=mine.chain, key=mine.key, alpn=(alpn,))

    @asynccontextmanager
    async def listening(self, handler: Handler) -> AsyncIterator[int]:
        """A TLS listener; leaving waits for its connections and raises what they raised."""
        tasks: list[asyncio.Task[None]] = []
        context, gate = self.server_context(), Gate(8)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await handler(
                await Stream.accept(reader, writer, context, admit=let_in, gate=gate, timeout_s=10)
            )

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.append(asyncio.ensure_future(serve(reader, writer)))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            async with asyncio.timeout(20):
                await asyncio.gather(*tasks)
                await server.wait_closed()

    async def stream(
        self,
        port: int,
        *,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return await Stream.connect(
            reader,
            writer,
            context or self.client_context(),
            server_hostname="server",
            admit=let_in,
            timeout_s=10,
            session=session,
        )

    def accept(self, stream: Stream) -> Session:
        return Session.accept(
            stream,
            own_certificate=self.server.certificate,
            peer=Peer.of(stream.peer_certificate or b""),
        )

    def connect(self, stream: Stream) -> Session:
        return Session.connect(
            stream,
            own_certificate=self.client.certificate,
            peer=Peer.of(stream.peer_certificate or b""),
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("session"))


async def test_a_message_and_its_receipt(world: World) -> None:
    sessions: list[Session] = []

    async def serve(stream: Stream) -> None:
        async with world.accept(stream) as session:
            await session.send(b"the OTP", receipt=True)
        sessions.append(session)

    async with world.listening(serve) as port:
        stream = await world.stream(port)
        async with world.connect(stream) as session:
            assert await session.receive() == b"the OTP"
            assert session.peer.name == "server"
            assert await anext(session, None) is None
    [server] = sessions
    assert server.peer.name == "client"
    assert server.sent_bytes[FrameType.DATA] == 7 + 58 + 29
    assert session.sent_bytes[FrameType.RECEIPT] == 8 + 58 + 29
    sent = stream.sent.total
    assert sum(session.sent_bytes.values()) < sent


async def test_megabytes_both_ways_at_once(world: World) -> None:
    message = bytes(range(256)) * 8192

    async def talk(session: Session) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(session.send(message, receipt=True))
            for _ in range(3):
                assert await session.receive() == message

    async def serve(stream: Stream) -> None:
        async with world.accept(stream) as session:
            await talk(session)

    async with world.listening(serve) as port, world.connect(await world.stream(port)) as session:
        await talk(session)


async def test_a_resumed_connection_carries_a_session_too(world: World) -> None:
    resumed: list[bool] = []

    async def serve(stream: Stream) -> None:
        resumed.append(stream.resumed)
        async with world.accept(stream) as session:
            await session.send(b"hello", receipt=True)

    context = world.client_context()
    async with world.listening(serve) as port:
        ticket = None
        for _ in range(2):
            stream = await world.stream(port, context=context, session=ticket)
            async with world.connect(stream) as session:
                assert await session.receive() == b"hello"
            ticket = stream.ssl_session
    assert resumed == [False, True]


async def test_a_relay_between_two_tls_connections_is_found_out(world: World) -> None:
    async def serve(stream: Stream) -> None:
        with pytest.raises(BindingMismatchError):
            async with world.accept(stream):
                pass

    async with world.listening(serve) as server_port:

        async def relay(stream: Stream) -> None:
            # Even with both private keys the relay cannot make the two connections one.
            onward = await world.stream(server_port)
            onward.write(await stream.read(65536))
            await onward.drain()
            assert await onward.read(65536) == b""
            await onward.close()
            await stream.close()

        async with world.listening(relay) as port:
            with pytest.raises(BindingMismatchError, match="neither READY nor ERROR"):
                async with world.connect(await world.stream(port)):
                    pass


async def test_a_connection_cut_within_a_session_is_a_truncation(world: World) -> None:
    async def serve(stream: Stream) -> None:
        async with world.accept(stream) as session:
            await session.send(b"first", receipt=True)
            stream.abort()

    async with world.listening(serve) as port, world.connect(await world.stream(port)) as session:
        assert await session.receive() == b"first"
        with pytest.raises(SessionTruncatedError):
            await session.receive()


async def send_on(session: Session) -> None:
    while True:
        await session.send(bytes(30_000))


async def test_a_revoked_peer_reads_why_while_it_sends(world: World) -> None:
    async def serve(stream: Stream) -> None:
        async with world.accept(stream) as session:
            await session.receive()
            await session.end(ErrorCode.CERTIFICATE_REVOKED, "client was revoked")

    async with world.listening(serve) as port, world.connect(await world.stream(port)) as session:
        with pytest.raises(SessionRefusedError, match="client was revoked"):
            await send_on(session)


async def test_no_session_without_alpn(world: World) -> None:
    async def serve(stream: Stream) -> None:
        with pytest.raises(HandshakeError, match="no session without ALPN"):
            async with world.accept(stream):
                pass

    async with world.listening(serve) as port:
        stream = await world.stream(port, context=world.client_context(alpn="other"))
        with pytest.raises(HandshakeError, match="no session without ALPN"):
            async with world.connect(stream):
                pass
