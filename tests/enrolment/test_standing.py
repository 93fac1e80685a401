"""Live sessions are held against what is known now, whenever that became known."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.admission import Anyone, Peer, Rules
from asynctls.enrolment import Keeper, standing
from asynctls.errors import ErrorCode, SessionRefusedError
from asynctls.server.accepting import Acceptor, Terms
from asynctls.server.connections import SessionServer
from asynctls.session import ALPN, Limits, Session
from asynctls.tls import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.enrolment import Identity

HOUR = timedelta(hours=1)


class Served:
    """A server on loopback, whose app waits to be told, and a client that takes its time."""

    def __init__(self, server: SessionServer, client: Keeper, port: int) -> None:
        self.server = server
        self._client = client
        self._port = port
        self.started: list[str] = []
        self.go_on = asyncio.Event()

    async def app(self, session: Session) -> None:
        self.started.append(session.peer.name)
        await self.go_on.wait()

    async def shaken(self) -> Session:
        """A client that is through with TLS and has not said KEY."""
        credentials = await self._client.client_credentials(alpn=ALPN)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        stream = await Stream.connect(
            reader,
            writer,
            credentials.context,
            server_hostname="server",
            admit=lambda certificate, alpn: _LetIn(),
            timeout_s=10,
        )
        assert stream.peer_certificate is not None
        return Session.connect(
            stream,
            own_certificate=credentials.certificate,
            peer=Peer.of(stream.peer_certificate),
        )


class _LetIn:
    alert = None
    reason = ""


@asynccontextmanager
async def serving(server: Identity, client: Identity) -> AsyncIterator[tuple[Served, Keeper]]:
    async with (
        Keeper(server, crl_interval=HOUR) as keeper,
        Keeper(client, crl_interval=HOUR) as other,
    ):
        served: Served

        async def app(session: Session) -> None:
            await served.app(session)

        service = SessionServer(
            app,
            Acceptor(keeper, Terms(Anyone(), ALPN, handshakes=8, handshake_timeout_s=10)),
            limits=Limits(),
        )
        listener = await asyncio.start_server(service.serve, "127.0.0.1", 0)
        served = Served(service, other, listener.sockets[0].getsockname()[1])
        try:
            yield served, keeper
        finally:
            listener.close()


async def test_a_peer_that_is_revoked_while_it_opens_its_session_is_out(
    ttp: Any, joined: Any
) -> None:
    async with serving(await joined("server"), await joined("client")) as (served, keeper):
        session = await served.shaken()
        await ttp.authority.revoke("client")
        await keeper.refresh_crl()
        with pytest.raises(SessionRefusedError) as caught:
            async with session:
                await session.receive()
        assert caught.value.error_code == ErrorCode.CERTIFICATE_REVOKED
        assert served.started == []


async def test_a_server_that_drains_tells_who_is_there_and_who_still_comes(
    ttp: Any, joined: Any
) -> None:
    async with serving(await joined("server"), await joined("client")) as (served, _):
        late = await served.shaken()
        async with await served.shaken() as early:
            while not served.started:  # noqa: ASYNC110 - an app has no event to wait for
                await asyncio.sleep(0)
            served.server.go_away()
            async with late:
                served.go_on.set()
                for session in (early, late):
                    assert [message async for message in session] == []
                    assert session.going_away


class _Live:
    """Somebody who is let in, as far as judging needs one."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.ended = 0

    @property
    def peer(self) -> Peer:
        return self._peer

    async def end(self, _code: ErrorCode, _reason: str, /) -> None:
        self.ended += 1


async def test_while_thousands_are_judged_again_others_have_their_turn(
    joined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns_before: list[int] = []
    turns = 0

    class Counted(_Live):
        @property
        def peer(self) -> Peer:
            turns_before.append(turns)
            return super().peer

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(standing, "_AT_ONCE", 10)
    peer = Peer.of((await joined("client")).certificate)
    other = asyncio.create_task(others())
    live = [Counted(peer) for _ in range(35)]
    unwelcome = await standing.end_unwelcome(live, Rules(Anyone(), crls=(), alpn=None))
    other.cancel()
    # Without a CRL nobody is let in: each was judged and ended, ten at a time.
    assert (unwelcome, [each.ended for each in live]) == (35, [1] * 35)
    assert max(turns_before.count(turn) for turn in set(turns_before)) == 10
