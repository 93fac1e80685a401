"""A client resumes its last TLS session with a server; what that skips is judged again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls import admission
from asynctls.alerts import Alert
from asynctls.client import connecting, resuming
from asynctls.client.streams import open_peer_stream
from asynctls.config import Address
from asynctls.enrolment import Keeper
from asynctls.errors import HandshakeError, PeerRefusedError
from asynctls.server import serving_streams
from asynctls.tls import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.enrolment.identity import Identity
    from asynctls.streams import PeerStream
    from asynctls.testing import CA

HOUR = timedelta(hours=1)


class Client:
    """Connects to the one server, again and again."""

    def __init__(self, keeper: Keeper, address: Address, seen: list[bool]) -> None:
        self.keeper = keeper
        self.address = address
        self.seen = seen

    async def resumes(self, name: str = "server", *, by: Address | None = None) -> bool:
        """Whether both ends say of another connection that it resumed."""
        async with open_peer_stream(
            self.keeper, by or self.address, server_name=name, timeout_s=10
        ) as stream:
            assert await stream.read() == b"hello"
            assert stream.peer.name == "server"
            assert stream.tls.extended_master_secret
            assert self.seen.pop() == stream.tls.resumed
            return stream.tls.resumed

    async def reload(self) -> None:
        async with self.keeper.reloading(crl_interval=HOUR) as take:
            take()


@asynccontextmanager
async def _client(ca: CA, server: Identity | None = None) -> AsyncIterator[Client]:
    seen: list[bool] = []

    async def greet(stream: PeerStream) -> None:
        seen.append(stream.tls.resumed)
        stream.write(b"hello")

    identity = server or ca.identity("server", "other", "urn:server")
    async with (
        serving_streams(greet, "127.0.0.1:0", identity=identity, allow=["client"]) as address,
        Keeper(ca.identity("client"), crl_interval=HOUR) as keeper,
    ):
        yield Client(keeper, address, seen)


@pytest.mark.parametrize("name", ["server", "urn:server"])
async def test_it_resumes_from_the_second_connection_on(asynctls_ca: CA, name: str) -> None:
    async with _client(asynctls_ca) as client:
        assert [await client.resumes(name) for _ in range(3)] == [False, True, True]


async def test_what_was_verified_for_another_name_or_address_is_not_resumed(
    asynctls_ca: CA,
) -> None:
    async with _client(asynctls_ca) as client:
        assert not await client.resumes("server")
        assert not await client.resumes("other")
        assert not await client.resumes(by=Address("localhost", client.address.port))
        assert await client.resumes("other")


async def test_of_many_servers_it_remembers_those_that_it_met_last(
    asynctls_ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "_MOST_SERVERS", 2)
    names = ["a", "b", "c"]
    async with _client(asynctls_ca, asynctls_ca.identity("server", *names)) as client:
        for name in names:
            assert not await client.resumes(name)
        # The first of the three was forgotten, and takes the second's place when it is met again.
        assert [await client.resumes(name) for name in ("b", "c", "a", "c", "b")] == [
            True,
            True,
            False,
            True,
            False,
        ]


async def test_after_a_reload_or_a_renewal_it_is_a_full_handshake(asynctls_ca: CA) -> None:
    async with _client(asynctls_ca) as client:
        assert not await client.resumes()
        await client.reload()
        assert not await client.resumes()
        assert await client.resumes()
        own = client.keeper.identity
        renewed = asynctls_ca.identity("client")
        for name in ("cert.pem", "key.pem"):
            (own.folder / name).write_bytes((renewed.folder / name).read_bytes())
        await client.reload()
        assert client.keeper.identity.serial == renewed.serial
        assert [await client.resumes() for _ in range(2)] == [False, True]


async def test_a_server_that_was_revoked_meanwhile_is_refused_and_told(asynctls_ca: CA) -> None:
    server = asynctls_ca.identity("server")
    async with _client(asynctls_ca, server) as client:
        await client.resumes()
        assert await client.resumes()
        asynctls_ca.revoke(server)
        await client.reload()
        with pytest.raises(PeerRefusedError) as refused:
            await client.resumes()
    assert (refused.value.alert, refused.value.told) == (Alert.CERTIFICATE_REVOKED, True)


async def test_a_session_of_an_expired_server_is_not_even_offered(
    asynctls_ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered: list[Any] = []
    connect = Stream.connect

    async def noted(*args: Any, session: Any, **more: Any) -> Any:
        offered.append(session)
        return await connect(*args, session=session, **more)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = UTC) -> Any:
            return datetime.now(tz) + timedelta(days=1)

    monkeypatch.setattr(Stream, "connect", noted)
    async with _client(asynctls_ca) as client:
        await client.resumes()
        assert await client.resumes()
        monkeypatch.setattr(connecting, "datetime", Later)
        with pytest.raises(PeerRefusedError) as refused:
            await client.resumes()
    assert (refused.value.alert, refused.value.told) == (Alert.CERTIFICATE_EXPIRED, True)
    assert [each is None for each in offered] == [True, False, True]


async def test_a_server_that_is_unwelcome_once_the_session_was_offered_is_refused(
    asynctls_ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = 0

    def admit_once(*args: Any, now: datetime, **more: Any) -> Any:
        nonlocal judged
        judged += 1
        # Offered by the first answer; by the second a day has gone by.
        return admission.admit(*args, now=now + timedelta(days=judged - 1), **more)

    async with _client(asynctls_ca) as client:
        await client.resumes()
        monkeypatch.setattr(connecting, "admit", admit_once)
        with pytest.raises(PeerRefusedError) as refused:
            await client.resumes()
    assert (refused.value.alert, refused.value.told) == (Alert.CERTIFICATE_EXPIRED, True)
    assert judged == 2


async def test_after_a_handshake_that_failed_the_next_one_is_full(asynctls_ca: CA) -> None:
    async with _client(asynctls_ca) as client:
        hangs_up = False

        async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not hangs_up:
                behind = await asyncio.open_connection(client.address.host, client.address.port)
                await asyncio.gather(_pass_on(reader, behind[1]), _pass_on(behind[0], writer))
            writer.close()

        server = await asyncio.start_server(front, "127.0.0.1", 0)
        async with server:
            by = Address("127.0.0.1", server.sockets[0].getsockname()[1])
            assert not await client.resumes(by=by)
            assert await client.resumes(by=by)
            hangs_up = True
            with pytest.raises(HandshakeError):
                await client.resumes(by=by)
            hangs_up = False
            assert not await client.resumes(by=by)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
    writer.close()
    await writer.wait_closed()
