"""Streams over real sockets: who is let in, who is told, and how each direction ends."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from asynctls.alerts import Alert
from asynctls.errors import (
    HandshakeError,
    HandshakeTimeoutError,
    PeerRefusedError,
    RefusedByPeerError,
    TruncatedError,
)
from asynctls.pki.profiles import Profile
from asynctls.tls import Gate, Stream, client_context, closing, gate, server_context
from asynctls.tls import stream as stream_module
from tests.tls.test_pouring import encrypted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from asynctls.tls import Admit, Engine
    from tests.tls.conftest import Holder, Kit

TIMEOUT_S = 10.0
# Longer than any test may take.
FOR_EVER_S = 600.0


class Ends:
    """A server's and a client's end of connections on loopback."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        world = kit.world
        self.gate = Gate(8)
        self.serving = server_context(
            chain=world.server.chain, key=world.server.key, trust=world.trust, alpn=[kit.alpn]
        )
        self.asking = self.context_of(world.client)
        self.server_admits: Admit = kit.let_in
        self.timeout_s = TIMEOUT_S
        self.connections = 0
        self.refused: list[HandshakeError] = []
        self._another = asyncio.Event()

    def context_of(self, holder: Holder) -> ssl.SSLContext:
        return client_context(
            trust=self.kit.world.trust, chain=holder.chain, key=holder.key, alpn=[self.kit.alpn]
        )

    async def taken(self, number: int) -> None:
        """Wait for so many connections, each of which lives by what was set when it came."""
        while self.connections < number:
            self._another.clear()
            await self._another.wait()

    async def refusals(self, number: int) -> None:
        """Wait for so many."""
        while len(self.refused) < number:
            self._another.clear()
            await self._another.wait()

    @contextlib.asynccontextmanager
    async def server(
        self, serve: Callable[[Stream], Awaitable[None]] | None = None
    ) -> AsyncIterator[int]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            self._another.set()
            try:
                stream = await Stream.accept(
                    reader,
                    writer,
                    self.serving,
                    admit=self.server_admits,
                    gate=self.gate,
                    timeout_s=self.timeout_s,
                )
            except HandshakeError as error:
                self.refused.append(error)
                self._another.set()
                return
            if serve is not None:
                await serve(stream)
            await stream.close()

        async with self.kit.listening(handle) as port:
            yield port

    async def connect(
        self, port: int, context: ssl.SSLContext | None = None, **options: object
    ) -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        options = {"server_hostname": "server", "admit": self.kit.let_in} | options
        return await Stream.connect(
            reader,
            writer,
            context or self.asking,
            timeout_s=TIMEOUT_S,
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture
def ends(kit: Kit) -> Ends:
    return Ends(kit)


async def collected(stream: Stream) -> bytes:
    got = bytearray()
    while piece := await stream.read():
        got += piece
    return bytes(got)


async def shaken(
    client: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Shake hands by hand, so that nothing closes the client's end."""
    while not client.handshake():
        writer.write(client.data_to_send())
        client.receive_data(await reader.read(65536))


async def write_on(stream: Stream) -> None:
    for _ in range(3):
        stream.write(b"into the void")
        await stream.drain()


async def test_a_message_goes_there_and_back(ends: Ends, kit: Kit) -> None:
    seen: list[Stream] = []

    async def echo(stream: Stream) -> None:
        seen.append(stream)
        while piece := await stream.read(3):
            stream.write(piece)
            await stream.drain()

    async with ends.server(echo) as port:
        client = await ends.connect(port)
        assert client.write(b"hello") == 5 + 8 + 5 + 16
        await client.drain()
        client.write_eof()
        assert await collected(client) == b"hello"
        assert await client.read() == b""
        await client.close()
        await client.close()
    server = seen[0]
    assert client.peer_certificate == kit.world.server.certificate
    assert server.peer_certificate == kit.world.client.certificate
    assert client.tls_unique == server.tls_unique
    assert client.alpn == server.alpn == kit.alpn
    assert client.version == "TLSv1.2"
    assert client.cipher == server.cipher
    assert client.extended_master_secret
    assert not client.resumed
    assert client.peer_address == f"127.0.0.1:{port}"
    assert server.peer_address.startswith("127.0.0.1:")
    assert client.sent.total == server.received.total
    assert server.sent.total == client.received.total


async def test_a_session_is_resumed_and_admit_is_asked(ends: Ends, kit: Kit) -> None:
    asked = []

    def admit(certificate: bytes | None, alpn: str | None) -> object:
        asked.append(certificate)
        return kit.decision()

    ends.server_admits = admit  # type: ignore[assignment]
    async with ends.server() as port:
        first = await ends.connect(port)
        await first.close()
        second = await ends.connect(port, session=first.ssl_session)
        assert second.resumed
        await second.close()
    assert asked == [kit.world.client.certificate] * 2


async def test_a_client_refused_in_a_resumption_is_left_without_a_word(
    ends: Ends, kit: Kit
) -> None:
    async with ends.server() as port:
        first = await ends.connect(port)
        await first.close()
        ends.server_admits = kit.refuse(Alert.CERTIFICATE_REVOKED)
        second = await ends.connect(port, session=first.ssl_session)
        with pytest.raises(TruncatedError):
            await second.read()
        await second.close()
    assert [type(error) for error in ends.refused] == [PeerRefusedError]


@pytest.mark.parametrize(
    "alert", [Alert.CERTIFICATE_REVOKED, Alert.ACCESS_DENIED, Alert.INTERNAL_ERROR]
)
async def test_a_refused_client_is_told(ends: Ends, kit: Kit, alert: Alert) -> None:
    ends.server_admits = kit.refuse(alert)
    async with ends.server() as port:
        with pytest.raises(RefusedByPeerError) as caught:
            await ends.connect(port)
    assert caught.value.alert is alert
    assert caught.value.certificate == kit.world.server.certificate
    assert [type(error) for error in ends.refused] == [PeerRefusedError]


async def test_an_expired_client_is_told(ends: Ends, kit: Kit) -> None:
    async with ends.server() as port:
        with pytest.raises(RefusedByPeerError) as caught:
            await ends.connect(port, ends.context_of(kit.world.expired))
    assert caught.value.alert is Alert.CERTIFICATE_EXPIRED


async def test_a_refused_server_is_told(ends: Ends, kit: Kit) -> None:
    async with ends.server() as port:
        with pytest.raises(PeerRefusedError):
            await ends.connect(port, admit=kit.refuse(Alert.CERTIFICATE_REVOKED))
        with pytest.raises(PeerRefusedError, match="not for elsewhere"):
            await ends.connect(port, server_hostname="elsewhere")
        with pytest.raises(HandshakeError, match="cannot be"):
            await ends.connect(port, server_hostname=".")
    assert [getattr(error, "alert", None) for error in ends.refused] == [
        Alert.CERTIFICATE_REVOKED,
        Alert.BAD_CERTIFICATE,
        None,
    ]


def told_while_sending(port: int, client: Engine) -> bytes:
    """What a client reads that goes on sending until an answer is there, and a little longer."""
    junk = b"\x17\x03\x03\x01\x00" + bytes(256)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        while client.shown_certificate is None:
            client.handshake()
            connection.sendall(client.data_to_send())
            client.receive_data(connection.recv(65536))
        client.handshake()
        connection.sendall(client.data_to_send() + junk)
        # Wait for the end of the server's direction: a close at once has happened by then.
        waiting = select.poll()
        waiting.register(connection, getattr(select, "POLLRDHUP", select.POLLIN))
        waiting.poll(10_000)
        try:
            for _ in range(20):
                connection.sendall(junk)
        except OSError:
            # As most programs do: a connection that cannot be written to is not read any more.
            return b""
        return connection.recv(65536)


@pytest.mark.parametrize("lingering", [64, 0])
async def test_every_client_that_keeps_sending_is_told_and_by_the_linger(
    ends: Ends, kit: Kit, lingering: int
) -> None:
    ends.gate = Gate(8, lingering=lingering)
    ends.server_admits = kit.refuse(Alert.CERTIFICATE_REVOKED)
    alert = bytes((21, 3, 3, 0, 2, 2, Alert.CERTIFICATE_REVOKED))
    told = 0
    async with ends.server() as port:
        for _ in range(100):
            client, _ = kit.world.engines()
            told += await asyncio.to_thread(told_while_sending, port, client) == alert
    assert (told == 100) == bool(lingering)


async def test_a_refused_client_that_never_ends_does_not_hold_us(
    ends: Ends, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "LINGER_S", 0.1)
    ends.server_admits = kit.refuse(Alert.ACCESS_DENIED)
    async with ends.server() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client, _ = kit.world.engines()
        with pytest.raises(RefusedByPeerError):
            await shaken(client, reader, writer)
        assert await reader.read() == b""
        await ends.refusals(1)
        await ended(writer)


async def test_past_the_bound_of_lingering_closes_the_connection_is_closed_at_once(
    ends: Ends, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "LINGER_S", FOR_EVER_S)
    ends.gate = Gate(8, lingering=0)
    ends.server_admits = kit.refuse(Alert.ACCESS_DENIED)
    async with ends.server() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client, _ = kit.world.engines()
        with pytest.raises(RefusedByPeerError):
            await shaken(client, reader, writer)
        assert await reader.read() == b""
        # Our own end stays open, and nobody waits for it.
        await ends.refusals(1)
        await ended(writer)


async def test_a_silent_client_is_timed_out_and_takes_no_place(ends: Ends) -> None:
    ends.timeout_s = 0.1
    ends.gate = Gate(1)
    async with ends.server() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await ends.taken(3)
        ends.timeout_s = TIMEOUT_S
        talking = await ends.connect(port)
        await talking.close()
        for reader, writer in silent:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
    assert [type(error) for error in ends.refused] == [HandshakeTimeoutError] * 3
    assert "0.1 s" in str(ends.refused[0])


async def begun(
    port: int, kit: Kit, *, host: str = "127.0.0.1"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection, from this address, whose client has said hello, and says no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
    client, _ = kit.world.engines()
    client.handshake()
    writer.write(client.data_to_send())
    return reader, writer


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_handshakes_under_way_are_bounded(
    ends: Ends, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PLACE_S", TIMEOUT_S)
    ends.gate = Gate(2)
    async with ends.server() as port:
        slow = [await begun(port, kit, host=f"127.0.0.{n}") for n in (2, 3)]
        for reader, _ in slow:
            assert await reader.read(100)
        reader, writer = await begun(port, kit)
        answer = asyncio.ensure_future(reader.read(100))
        await asyncio.wait([answer], timeout=0.1)
        assert not answer.done()
        assert ends.gate.under_way == 2
        await ended(slow[0][1])
        assert await answer
        assert ends.gate.under_way == 2
        await ended(slow[1][1])
        await ended(writer)
        await ends.refusals(3)
    assert ends.gate.under_way == 0


async def test_the_handshakes_of_one_address_keep_no_other_out(
    ends: Ends, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PLACE_S", TIMEOUT_S)
    ends.gate = Gate(2)
    async with ends.server() as port:
        many = [await begun(port, kit, host="127.0.0.2") for _ in range(5)]
        assert await many[0][0].read(100)
        stream = await ends.connect(port)
        assert ends.gate.under_way == 1
        await stream.close()
        for _, writer in many:
            await ended(writer)
        await ends.refusals(5)
    assert ends.gate.under_way == 0


async def test_clients_that_stop_after_their_hello_keep_nobody_out(
    ends: Ends, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PLACE_S", 0.05)
    ends.gate = Gate(1)
    async with ends.server() as port:
        stopped = [await begun(port, kit) for _ in range(3)]
        for _ in range(2):
            stream = await ends.connect(port)
            await stream.close()
        assert not ends.refused
        for _, writer in stopped:
            await ended(writer)
        await ends.refusals(3)
    assert ends.gate.under_way == 0


async def test_a_client_that_lost_its_place_by_being_slow_is_served_all_the_same(
    ends: Ends, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "PLACE_S", 0.05)
    ends.gate = Gate(1)
    client, _ = kit.world.engines()
    async with ends.server() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client.handshake()
        writer.write(client.data_to_send())
        flight = await reader.read(65536)
        quick = await ends.connect(port)
        await quick.close()
        client.receive_data(flight)
        await shaken(client, reader, writer)
        await ended(writer)
    assert not ends.refused


async def test_the_wait_at_the_gate_counts(ends: Ends, kit: Kit) -> None:
    ends.gate = Gate(1)
    ends.timeout_s = 0.1
    assert ends.gate.enter() is None
    async with ends.server() as port:
        reader, writer = await begun(port, kit)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        await ended(writer)
        await ends.refusals(1)
    assert [type(error) for error in ends.refused] == [HandshakeTimeoutError]
    ends.gate.leave()
    assert ends.gate.under_way == 0
    assert ends.gate.enter() is None


class Watched(Gate):
    """Says when somebody waits."""

    def __init__(self) -> None:
        super().__init__(1)
        self.somebody_waits = asyncio.Event()

    def enter(self, network: str | None = None) -> asyncio.Future[None] | None:
        place = super().enter(network)
        if place is not None:
            self.somebody_waits.set()
        return place


@pytest.mark.parametrize("how", ["by FIN", "by reset"])
async def test_a_client_that_leaves_while_it_waits_leaves_no_place_taken(
    ends: Ends, kit: Kit, how: str
) -> None:
    ends.gate = watched = Watched()
    assert watched.enter() is None
    async with ends.server() as port:
        _, writer = await begun(port, kit)
        await watched.somebody_waits.wait()
        if how == "by reset":
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await ended(writer)
        watched.leave()
        await ends.refusals(1)
    assert watched.under_way == 0


async def test_a_client_that_waits_is_read_no_further_however_much_lay_there_before(
    ends: Ends, kit: Kit
) -> None:
    ends.gate = watched = Watched()
    assert watched.enter() is None
    is_reading: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # So much that the reader itself has the transport pause.
        reader.feed_data(bytes(1 << 18))
        accepting = asyncio.ensure_future(
            Stream.accept(
                reader, writer, ends.serving, admit=kit.let_in, gate=watched, timeout_s=TIMEOUT_S
            )
        )
        await watched.somebody_waits.wait()
        is_reading.set_result(writer.transport.is_reading())  # type: ignore[attr-defined]
        accepting.cancel()
        await asyncio.wait([accepting])

    async with kit.listening(handle) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        assert not await is_reading
        await ended(writer)
    watched.leave()
    assert watched.under_way == 0


@pytest.mark.parametrize("called", [False, True], ids=["while it waits", "when it was its turn"])
async def test_an_accept_that_is_cancelled_at_the_gate_leaves_no_place_taken(
    ends: Ends,
    kit: Kit,
    called: bool,  # noqa: FBT001
) -> None:
    watched = Watched()
    assert watched.enter() is None
    over = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepting = asyncio.ensure_future(
            Stream.accept(
                reader, writer, ends.serving, admit=kit.let_in, gate=watched, timeout_s=TIMEOUT_S
            )
        )
        await watched.somebody_waits.wait()
        if called:
            watched.leave()
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        if not called:
            watched.leave()
        over.set()

    async with kit.listening(handle) as port:
        _, writer = await begun(port, kit)
        await over.wait()
        await ended(writer)
    assert watched.under_way == 0
    assert watched.enter() is None


async def test_a_handshake_that_is_cancelled_when_it_was_its_turn_does_not_go_on(
    ends: Ends, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched()
    assert watched.enter() is None
    over = asyncio.Event()
    gone_on: list[Engine] = []
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))

    def shaken(engine: Engine) -> bool:
        gone_on.append(engine)
        return True

    monkeypatch.setattr("asynctls.tls.engine.Engine.handshake", shaken)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepting = asyncio.ensure_future(
            Stream.accept(
                reader, writer, ends.serving, admit=kit.let_in, gate=watched, timeout_s=TIMEOUT_S
            )
        )
        await watched.somebody_waits.wait()
        watched.leave()
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        over.set()

    async with kit.listening(handle) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a hello")
        await over.wait()
        await ended(writer)
    assert (gone_on, faults) == ([], [])
    assert watched.under_way == 0


async def test_a_silent_server_is_timed_out(ends: Ends) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
            await reader.read()
        await ended(writer)

    async with ends.kit.listening(say_nothing) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(HandshakeTimeoutError):
            await Stream.connect(
                reader,
                writer,
                ends.asking,
                server_hostname="server",
                admit=ends.kit.let_in,
                timeout_s=0.1,
            )
        assert writer.transport.is_closing()


async def test_a_peer_that_leaves_during_the_handshake_is_named_so(ends: Ends) -> None:
    async with ends.server() as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await ends.refusals(2)
        await ended(writer)
    assert sorted(str(error) for error in ends.refused) == [
        "the handshake failed: what it sends is not TLS: it looks like HTTP",
        "the peer closed the connection during the handshake, without having said anything",
    ]


async def test_a_reset_during_the_handshake_is_a_handshake_error(ends: Ends, kit: Kit) -> None:
    async with ends.server() as port:
        connection = socket.create_connection(("127.0.0.1", port))
        client, _ = kit.world.engines()
        client.handshake()
        connection.sendall(client.data_to_send())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        await ends.refusals(1)
    assert not isinstance(ends.refused[0], PeerRefusedError)


async def test_a_connection_that_was_reset_before_its_handshake_is_said_to_be_lost(
    ends: Ends, kit: Kit
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    here = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.set()
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        try:
            await Stream.accept(
                reader, writer, ends.serving, admit=kit.let_in, gate=ends.gate, timeout_s=TIMEOUT_S
            )
        except HandshakeError as error:
            said.put_nowait(str(error))

    async with kit.listening(handle) as port:
        connection = socket.create_connection(("127.0.0.1", port))
        await here.wait()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        async with asyncio.timeout(TIMEOUT_S):
            assert "the connection was lost" in await said.get()


async def test_a_cancelled_accept_leaves_no_open_socket(ends: Ends, kit: Kit) -> None:
    started = asyncio.Event()
    cancelled = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepting = asyncio.ensure_future(
            Stream.accept(
                reader,
                writer,
                ends.serving,
                admit=kit.let_in,
                gate=ends.gate,
                timeout_s=TIMEOUT_S,
            )
        )
        await started.wait()
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        assert writer.transport.is_closing()
        cancelled.set()

    async with kit.listening(handle) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client, _ = kit.world.engines()
        client.handshake()
        writer.write(client.data_to_send())
        assert await reader.read(100)
        started.set()
        await cancelled.wait()
        assert ends.gate.under_way == 0
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_cancelled_linger_leaves_no_open_socket(ends: Ends, kit: Kit) -> None:
    refused = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepting = asyncio.ensure_future(
            Stream.accept(
                reader,
                writer,
                ends.serving,
                admit=kit.refuse(Alert.ACCESS_DENIED),
                gate=ends.gate,
                timeout_s=TIMEOUT_S,
            )
        )
        await refused.wait()
        accepting.cancel()
        with pytest.raises((asyncio.CancelledError, PeerRefusedError)):
            await accepting
        assert writer.transport.is_closing()

    async with kit.listening(handle) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        client, _ = kit.world.engines()
        with pytest.raises(RefusedByPeerError):
            await shaken(client, reader, writer)
        refused.set()
        writer.close()
        await writer.wait_closed()


async def test_a_fault_in_admit_is_told_as_internal_and_raised(ends: Ends, kit: Kit) -> None:
    def admit(certificate: bytes | None, alpn: str | None) -> object:
        raise ZeroDivisionError

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(ZeroDivisionError):
            await Stream.accept(
                reader,
                writer,
                ends.serving,
                admit=admit,  # type: ignore[arg-type]
                gate=ends.gate,
                timeout_s=TIMEOUT_S,
            )

    async with kit.listening(handle) as port:
        with pytest.raises(RefusedByPeerError) as caught:
            await ends.connect(port)
    assert caught.value.alert is Alert.INTERNAL_ERROR


# Ends


async def test_half_close_works_both_ways(ends: Ends) -> None:
    async def answer_afterwards(stream: Stream) -> None:
        assert await collected(stream) == b"question"
        stream.write(b"answer")
        stream.write_eof()

    async def answer_before(stream: Stream) -> None:
        stream.write(b"greeting")
        stream.write_eof()
        assert await collected(stream) == b"thanks"

    async with ends.server(answer_afterwards) as port:
        client = await ends.connect(port)
        client.write(b"question")
        client.write_eof()
        with pytest.raises(RuntimeError):
            client.write(b"more")
        assert await collected(client) == b"answer"
        await client.close()
    async with ends.server(answer_before) as port:
        client = await ends.connect(port)
        assert await collected(client) == b"greeting"
        client.write(b"thanks")
        await client.close()


async def test_an_abort_is_a_truncation(ends: Ends) -> None:
    async def leave(stream: Stream) -> None:
        stream.write(b"half a mess")
        await stream.drain()
        await stream.read()
        stream.abort()

    async with ends.server(leave) as port:
        client = await ends.connect(port)
        assert await client.read() == b"half a mess"
        client.write(b"go")
        with pytest.raises(TruncatedError):
            await client.read()
        await client.close()


async def test_a_reset_is_a_truncation(ends: Ends) -> None:
    async def reset(stream: Stream) -> None:
        await stream.read()
        connection = stream._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stream.abort()

    async with ends.server(reset) as port:
        client = await ends.connect(port)
        client.write(b"go")
        with pytest.raises(TruncatedError, match="connection was lost"):
            await client.read()
        with pytest.raises(TruncatedError):
            await write_on(client)
        await client.close()


async def test_a_closed_stream_says_so(ends: Ends) -> None:
    async with ends.server() as port:
        client = await ends.connect(port)
        await client.close()
        with pytest.raises(TruncatedError, match="is closed"):
            client.write(b"no")
        client.write_eof()
        client.abort()


async def test_a_reader_may_read_on_while_another_task_closes(ends: Ends) -> None:
    go = asyncio.Event()

    async def send_late(stream: Stream) -> None:
        assert await stream.read() == b""
        stream.write(b"late but whole")
        await go.wait()

    async with ends.server(send_late) as port:
        client = await ends.connect(port)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(collected(client))
            closing = tasks.create_task(client.close())
            await asyncio.sleep(0)
            go.set()
        assert reading.result() == b"late but whole"
        assert closing.done()


async def test_a_peer_that_never_ends_does_not_hold_a_close(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (closing, stream_module):
        monkeypatch.setattr(each, "LINGER_S", 0.1)
    closed = asyncio.Event()

    async def stay(stream: Stream) -> None:
        await closed.wait()

    async with ends.server(stay) as port:
        client = await ends.connect(port)
        reading = asyncio.ensure_future(client.read())
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(TruncatedError, match="closed at this end"):
            await reading
        closed.set()


async def test_a_cancelled_close_leaves_no_open_socket(ends: Ends) -> None:
    closed = asyncio.Event()

    async def stay(stream: Stream) -> None:
        await stream.read()
        await closed.wait()

    async with ends.server(stay) as port:
        client = await ends.connect(port)
        closing = asyncio.ensure_future(client.close())
        await asyncio.wait([closing], timeout=0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert client._writer.transport.is_closing()
        closed.set()


async def test_what_was_written_before_a_close_arrives_whole(ends: Ends) -> None:
    content = bytes(range(256)) * 4096

    async def send(stream: Stream) -> None:
        stream.write(content)

    async with ends.server(send) as port:
        client = await ends.connect(port)
        assert await collected(client) == content
        await client.close()


async def test_a_read_that_begins_during_a_close_does_not_disturb_it(ends: Ends) -> None:
    closed = asyncio.Event()

    async def stay(stream: Stream) -> None:
        await closed.wait()

    async with ends.server(stay) as port:
        client = await ends.connect(port)
        closing = asyncio.ensure_future(client.close())
        await asyncio.wait([closing], timeout=0.05)
        with pytest.raises(TruncatedError, match="closed at this end"):
            await client.read()
        closed.set()
        await closing


async def test_two_readers_at_once_are_a_fault_in_the_program(ends: Ends) -> None:
    async with ends.server() as port:
        client = await ends.connect(port)
        reading = asyncio.ensure_future(client.read())
        await asyncio.sleep(0)
        if not reading.done():
            with pytest.raises(RuntimeError, match="another task"):
                await client.read()
        assert await reading == b""
        await client.close()


async def test_a_piece_of_64_kib_that_has_come_is_read_whole(kit: Kit) -> None:
    async with asyncio.timeout(20), encrypted(kit) as (client, server):
        client._engine.write(bytes(1 << 17))
        server.connection[0].feed_data(client._engine.data_to_send())
        assert [await server.read() for _ in range(2)] == [bytes(1 << 16)] * 2


async def test_a_cancelled_read_loses_nothing(ends: Ends) -> None:
    go = asyncio.Event()

    async def speak(stream: Stream) -> None:
        await go.wait()
        stream.write(b"whole")

    async with ends.server(speak) as port:
        client = await ends.connect(port)
        reading = asyncio.ensure_future(client.read())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        go.set()
        assert await collected(client) == b"whole"
        await client.close()


async def test_a_flood_of_tiny_records_leaves_others_their_turn(ends: Ends) -> None:
    records = 640
    sent = asyncio.get_running_loop().create_future()
    turns: list[int] = []

    async def serve(stream: Stream) -> None:
        # All of it is here before the first is read: nothing is waited for then.
        arriving = await sent
        while len(stream._reader._buffer) < arriving:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0)
        taking_turns = asyncio.create_task(take_turns())
        for _ in range(records):
            assert await stream.read() == b"x"
        taking_turns.cancel()

    async def take_turns() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async with ends.server(serve) as port:
        client = await ends.connect(port)
        sent.set_result(sum(client.write(b"x") for _ in range(records)))
        await collected(client)
        await client.close()
    assert len(turns) >= records // 32


async def test_where_both_have_said_all_nothing_is_waited_for(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    lingered: list[object] = []
    go_on = asyncio.Event()

    async def say_all_and_stay(stream: Stream) -> None:
        stream.write_eof()
        await go_on.wait()

    async def linger(_reader: object, writer: object, _gate: object) -> None:
        lingered.append(writer)

    async with ends.server(say_all_and_stay) as port:
        client = await ends.connect(port)
        assert await client.read() == b""
        with monkeypatch.context() as patched:
            patched.setattr("asynctls.tls.stream.linger", linger)
            await client.close()
        go_on.set()
    assert not lingered


async def test_ten_mebibytes_each_way_at_once_with_backpressure(kit: Kit, ends: Ends) -> None:
    content = bytes(range(256)) * 4096 * 10
    largest = 0

    async def both_ways(stream: Stream) -> bytes:
        async def send() -> None:
            nonlocal largest
            for at in range(0, len(content), 60_000):
                stream.write(content[at : at + 60_000])
                largest = max(largest, stream._writer.transport.get_write_buffer_size())
                await stream.drain()
            stream.write_eof()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            received = tasks.create_task(collected(stream))
        return received.result()

    async def serve(stream: Stream) -> None:
        connection = stream._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        assert await both_ways(stream) == content

    async with ends.server(serve) as port:
        client = await ends.connect(port)
        connection = client._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        assert await both_ways(client) == content
        assert client.plaintext_sent == client.plaintext_received == len(content)
        await client.close()
    assert largest < 256 * 1024


@pytest.mark.parametrize("keepalive_s", [60.0, 10.0, 43_200.0])
async def test_dead_peers_are_left_to_tcp(ends: Ends, keepalive_s: float) -> None:
    async with ends.server() as port:
        client = await ends.connect(port, keepalive_s=keepalive_s)
        connection = client._writer.get_extra_info("socket")
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            idle, interval, probes, user_timeout = (
                connection.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
            assert idle + probes * interval == keepalive_s
            assert user_timeout == keepalive_s * 1000
            client.allow_stalls()
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        await client.close()


async def test_a_python_server_of_the_standard_library_is_a_peer(kit: Kit, ends: Ends) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"greeting")
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    holder = kit.world.holder("server", Profile.SERVER)
    context = server_context(chain=holder.chain, key=holder.key, trust=kit.world.trust)
    tasks = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.ensure_future(greet(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    client = await ends.connect(server.sockets[0].getsockname()[1])
    assert await collected(client) == b"greeting"
    await client.close()
    await asyncio.gather(*tasks)
    server.close()
    await server.wait_closed()
