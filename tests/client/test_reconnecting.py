"""``async for session in connect(…)``: another session whenever the last one has ended."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import asynctls
from asynctls.errors import (
    ErrorCode,
    IdentityError,
    PeerRefusedError,
    RefusedByPeerError,
    SessionRefusedError,
)
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

    from asynctls.testing import CA


async def greet(session: asynctls.Session) -> None:
    await session.send(b"hello " + session.peer.name.encode(), receipt=True)


async def silent(session: asynctls.Session) -> None:
    async for _ in session:
        pass


@asynccontextmanager
async def served(ca: CA, app: Any = greet, port: int = 0) -> AsyncIterator[str]:
    async with asynctls.serving(
        app, f"127.0.0.1:{port or free_port()}", identity=ca.identity("server"), allow=["client"]
    ) as address:
        yield str(address)


def iterating(
    address: str, identity: asynctls.Identity, server_name: str = "server"
) -> aclosing[AsyncGenerator[asynctls.Session, None]]:
    connecting = asynctls.connect(address, server_name=server_name, identity=identity)
    return aclosing(aiter(connecting))


async def test_each_session_that_ended_is_followed_by_another(asynctls_ca: CA, logged: Any) -> None:
    found: list[asynctls.Session] = []
    async with (
        served(asynctls_ca) as address,
        iterating(address, asynctls_ca.identity("client")) as sessions,
    ):
        async for session in sessions:
            assert all(each.end_reason == "both ends closed it" for each in found)
            assert await session.receive() == b"hello client"
            found.append(session)
            if len(found) == 3:
                break
    pauses = [event["retry_in_s"] for event in logged.named("connecting again")]
    assert len(pauses) == 2
    assert pauses[0] < pauses[1]


async def test_a_body_that_goes_on_after_an_error_gets_the_next_session(asynctls_ca: CA) -> None:
    async def fail_once(session: asynctls.Session) -> None:
        if not failures:
            await session.end(ErrorCode.INTERNAL, "for once")
        await greet(session)

    failures: list[asynctls.SessionError] = []
    async with (
        served(asynctls_ca, fail_once) as address,
        iterating(address, asynctls_ca.identity("client")) as sessions,
    ):
        async for session in sessions:
            try:
                assert await session.receive() == b"hello client"
            except asynctls.SessionError as error:
                failures.append(error)
                continue
            break
    (failure,) = failures
    assert isinstance(failure, SessionRefusedError)
    assert "for once" in str(failure)


async def test_it_waits_for_a_server_that_is_not_there_yet(asynctls_ca: CA, logged: Any) -> None:
    identity, port = asynctls_ca.identity("client"), free_port()
    async with iterating(f"127.0.0.1:{port}", identity) as sessions:
        first = asyncio.create_task(anext(sessions))
        assert "cannot be reached" in (await logged.until("connecting again"))["reason"]
        async with served(asynctls_ca, port=port):
            session = await first
            assert await session.receive() == b"hello client"
            await session.close()


async def test_what_never_worked_is_raised_when_one_of_the_two_refuses_the_other(
    asynctls_ca: CA,
) -> None:
    async with served(asynctls_ca) as address:
        async with iterating(address, asynctls_ca.identity("client"), "elsewhere") as sessions:
            with pytest.raises(PeerRefusedError, match="expected to be elsewhere"):
                await anext(sessions)
        async with iterating(address, asynctls_ca.identity("stranger")) as sessions:
            with pytest.raises(RefusedByPeerError, match="not on its allow list"):
                await anext(sessions)


async def test_what_worked_once_is_tried_again_though_it_is_refused(
    asynctls_ca: CA, logged: Any
) -> None:
    identity = asynctls_ca.identity("client")
    async with served(asynctls_ca) as address:
        connection = iterating(address, identity)
        sessions = await connection.__aenter__()
        await (await anext(sessions)).receive()
    port = int(address.rpartition(":")[2])
    # Another server in its place, whose certificate is not the one that is asked for.
    impostor = asynctls_ca.identity("impostor")
    async with asynctls.serving(greet, f"127.0.0.1:{port}", identity=impostor, allow=["client"]):
        again = asyncio.create_task(anext(sessions))
        while "expected to be server" not in str(logged.named("connecting again")):
            await logged.until("connecting again", count=len(logged.named("connecting again")) + 1)
    async with served(asynctls_ca, port=port):
        session = await again
        assert await session.receive() == b"hello client"
        await session.close()
        await connection.__aexit__(None, None, None)


async def test_without_an_identity_it_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="there is no identity"):
        await anext(aiter(asynctls.connect("127.0.0.1:1", identity=tmp_path / "none")))


class Deaf(asyncio.Protocol):
    """Takes connections, and says nothing."""

    def __init__(self, reached: asyncio.Event) -> None:
        self._reached = reached

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._reached.set()


@pytest.mark.parametrize("where", ["in the body", "while it waits", "while it connects"])
async def test_cancelled_anywhere_it_leaves_no_task(
    asynctls_ca: CA, logged: Any, where: str
) -> None:
    identity = asynctls_ca.identity("client")
    reached = asyncio.Event()

    async def follow(address: str) -> None:
        async for _ in asynctls.connect(address, server_name="server", identity=identity):
            reached.set()
            await asyncio.Event().wait()

    deaf = await asyncio.get_running_loop().create_server(lambda: Deaf(reached), "127.0.0.1", 0)
    async with deaf, served(asynctls_ca, silent) as address:
        before = asyncio.all_tasks()
        to = {
            "in the body": address,
            "while it waits": "127.0.0.1:1",
            "while it connects": "{}:{}".format(*deaf.sockets[0].getsockname()),
        }
        following = asyncio.create_task(follow(to[where]))
        if where == "while it waits":
            await logged.until("connecting again")
        else:
            await reached.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        await until_gone(before)


async def test_a_body_that_breaks_leaves_no_task(asynctls_ca: CA, logged: Any) -> None:
    identity = asynctls_ca.identity("client")
    before = asyncio.all_tasks()
    async with served(asynctls_ca, silent) as address:
        serving = asyncio.all_tasks()
        async for session in asynctls.connect(address, server_name="server", identity=identity):
            await session.close()
            break
        await logged.until("session ended", count=2)
        await until_gone(serving)
    assert asyncio.all_tasks() == before
    ends = {event["reason"] for event in logged.named("session ended")}
    assert ends == {"both ends closed it"}


async def test_what_the_body_lets_out_ends_it_and_is_no_orderly_end_for_the_server(
    asynctls_ca: CA, logged: Any
) -> None:
    identity = asynctls_ca.identity("client")
    async with served(asynctls_ca, silent) as address:

        async def fail() -> None:
            async with iterating(address, identity) as sessions:
                async for _ in sessions:
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        await logged.until("session ended", count=2)
    assert "the application was stopped" in str(logged.named("session ended"))


async def until_gone(before: set[asyncio.Task[Any]]) -> None:
    """Until no task is left but those of before; the loop itself closes what a break has left."""
    while left := asyncio.all_tasks() - before:
        await asyncio.wait(left)
