"""The library's face: `connect`, `serve`, `Session` and `Identity`, as the README shows them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import asynctls
from asynctls.errors import (
    ConfigError,
    IdentityError,
    MessageTooLargeError,
    PeerRefusedError,
    RefusedByPeerError,
    ServerUnreachableError,
    SessionClosedError,
    SessionRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from asynctls.server import App


async def greet(session: asynctls.Session) -> None:
    await session.send(b"hello " + session.peer.name.encode(), receipt=True)


async def echo(session: asynctls.Session) -> None:
    async for message in session:
        await session.send(message)


@pytest.fixture
def serving(joined: Any, logged: Any) -> Callable[..., AbstractAsyncContextManager[str]]:
    """``async with serving(app) as address``: `serve` as a task, by the identity 'server'."""

    @asynccontextmanager
    async def serve(app: App, *allow: str) -> AsyncIterator[str]:
        identity = await joined("server")
        logged.events.clear()
        task = asyncio.create_task(
            asynctls.serve(app, "127.0.0.1:0", identity=identity, allow=allow or ("client",))
        )
        try:
            yield str((await logged.until("listening"))["address"])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()

    return serve


def test_importing_it_loads_neither_cryptography_nor_tls_nor_a_database() -> None:
    script = (
        "import sys, asynctls; asynctls.__version__; dir(asynctls); "
        "print(sorted({'cryptography', 'ssl', 'sqlalchemy', 'asyncio', 'structlog'} "
        "& set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_its_names_are_there_and_no_others() -> None:
    for name in asynctls.__all__:
        assert getattr(asynctls, name) is not None
    assert set(asynctls.__all__) <= set(dir(asynctls))
    with pytest.raises(AttributeError, match="no attribute 'Manager'"):
        asynctls.Manager  # noqa: B018


async def test_the_readmes_lines_work_as_they_are_written(
    joined: Any, logged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    serve_lines, connect_lines = (
        part.partition("```")[0]
        for part in readme.partition("## Ten lines of Python")[2].split("```python\n")[1:3]
    )
    for name in ("server", "client"):
        identity = await joined(name)
        identity.folder.rename(tmp_path / f"{name}-state")
    monkeypatch.chdir(tmp_path)
    logged.events.clear()
    serve_lines = serve_lines.replace("127.0.0.1:8443", "127.0.0.1:0")
    serve_lines = serve_lines.replace("asyncio.run(", "task = asyncio.ensure_future(")
    names: dict[str, Any] = {}
    exec(serve_lines, names)
    try:
        address = str((await logged.until("listening"))["address"])
        connect_lines = connect_lines.replace("127.0.0.1:8443", address)
        body = "".join(f"    {line}\n" for line in connect_lines.splitlines())
        exec(f"import asynctls\nasync def main():\n{body}", names)
        await names["main"]()
    finally:
        names["task"].cancel()
        await asyncio.gather(names["task"], return_exceptions=True)
    assert capsys.readouterr().out == "b'hello client'\n"


async def test_a_session_sends_receives_and_closes(serving: Any, joined: Any) -> None:
    identity = await joined("client")
    async with serving(echo) as address:
        async with asynctls.connect(address, server_name="server", identity=identity) as session:
            assert isinstance(session, asynctls.Session)
            assert session.peer.name == "server"
            assert session.peer.sans == ("server",)
            server = asynctls.Identity.load(identity.folder.parent / "server")
            assert session.peer.serial == server.serial
            assert session.peer.fingerprint == server.fingerprint
            assert session.peer.not_after == server.not_after
            for message in (b"one", b"", bytes(1_000_000)):
                await session.send(message, receipt=True)
                assert await session.receive() == message
            await session.close()
            with pytest.raises(SessionClosedError):
                await session.send(b"after the end")
        async with asynctls.connect(
            address, server_name="server", identity=str(identity.folder)
        ) as session:
            await session.send(b"by the folder's name")
            assert await session.receive() == b"by the folder's name"


async def test_an_identity_is_read_from_its_folder(joined: Any, tmp_path: Path) -> None:
    made = await joined("client")
    identity = asynctls.Identity.load(tmp_path / "client")
    assert identity == made
    assert (identity.name, identity.sans) == ("client", ("client",))
    assert all(path.exists() for path in identity.files)


async def test_fifty_clients_at_once_are_each_served(asynctls_ca: Any) -> None:
    # Of no TTP: fifty that fetch their CRLs at once are the TTP's matter.
    server, identity = asynctls_ca.identity("server"), asynctls_ca.identity("client")
    together = asyncio.Barrier(50)

    async def app(session: asynctls.Session) -> None:
        await together.wait()
        await echo(session)

    async def visit(address: str, number: int) -> bytes:
        async with asynctls.connect(address, server_name="server", identity=identity) as session:
            await session.send(b"client %d" % number, receipt=True)
            return await session.receive()

    async with asynctls.serving(app, "127.0.0.1:0", identity=server, allow=["client"]) as address:
        answers = await asyncio.gather(*(visit(str(address), number) for number in range(50)))
    assert answers == [b"client %d" % number for number in range(50)]


async def test_serve_that_is_cancelled_leaves_no_task_and_says_so_to_its_clients(
    serving: Any, joined: Any
) -> None:
    identity = await joined("client")
    before = asyncio.all_tasks()
    async with serving(echo) as address:
        connection = asynctls.connect(address, server_name="server", identity=identity)
        session = await connection.__aenter__()
        await session.send(b"here", receipt=True)
    assert await session.receive() == b"here"
    with pytest.raises(SessionRefusedError, match="stopped"):
        await session.receive()
    await connection.__aexit__(None, None, None)
    assert asyncio.all_tasks() == before


async def test_an_app_that_raises_ends_its_session_alone(
    serving: Any, joined: Any, logged: Any
) -> None:
    identity = await joined("client")

    async def app(session: asynctls.Session) -> None:
        async for message in session:
            if message == b"fail":
                raise ZeroDivisionError("an error of the app's")
            await session.send(message)

    def connect(address: str) -> Any:
        return asynctls.connect(address, server_name="server", identity=identity)

    async with serving(app) as address, connect(address) as healthy:
        async with connect(address) as failing:
            await failing.send(b"fail")
            with pytest.raises(SessionRefusedError, match="the application failed"):
                await failing.receive()
        await healthy.send(b"still here")
        assert await healthy.receive() == b"still here"
        async with connect(address) as later:
            await later.send(b"and new ones")
            assert await later.receive() == b"and new ones"
    failed = logged.named("connection failed")
    assert len(failed) == 1
    assert failed[0]["exc_info"]


async def test_an_app_may_receive_until_the_peer_has_said_all(
    serving: Any, joined: Any, logged: Any
) -> None:
    async def take_all(session: asynctls.Session) -> None:
        while True:
            await session.receive()

    identity = await joined("client")
    async with serving(take_all) as address:
        async with asynctls.connect(address, server_name="server", identity=identity) as session:
            await session.send(b"one", receipt=True)
        await logged.until("session ended", count=2)
    ends = [event["reason"] for event in logged.named("session ended")]
    assert ends == ["both ends closed it"] * 2


async def test_who_is_refused_knows_why(serving: Any, joined: Any) -> None:
    stranger = await joined("stranger")
    async with serving(greet) as address:
        with pytest.raises(RefusedByPeerError, match="not on its allow list") as caught:
            async with asynctls.connect(address, server_name="server", identity=stranger):
                pytest.fail("a stranger was let in")
        assert caught.value.alert is not None
        with pytest.raises(PeerRefusedError, match="not for elsewhere"):
            async with asynctls.connect(address, server_name="elsewhere", identity=stranger):
                pytest.fail("another server was taken for the one asked for")


async def test_any_lets_in_whomever_the_ttp_knows(serving: Any, joined: Any) -> None:
    stranger = await joined("stranger")
    async with (
        serving(greet, "any") as address,
        asynctls.connect(address, server_name="server", identity=stranger) as session,
    ):
        assert await session.receive() == b"hello stranger"


@pytest.mark.parametrize("address", ["", "server", "server:http", "127.0.0.1:70000", "::1:8443"])
async def test_an_address_that_is_none_is_an_error_in_words(joined: Any, address: str) -> None:
    identity = await joined("client")
    with pytest.raises(ValueError, match=r"port|IPv6|host"):
        async with asynctls.connect(address, identity=identity):
            pass
    with pytest.raises(ValueError, match=r"port|IPv6|host"):
        await asynctls.serve(greet, address, identity=identity, allow=["any"])


async def test_a_server_that_is_not_there_is_an_error_in_words(joined: Any) -> None:
    identity = await joined("client")
    with pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:1 cannot be reached.*refused"):
        async with asynctls.connect("127.0.0.1:1", identity=identity):
            pass
    with pytest.raises(ServerUnreachableError, match=r"nowhere\.invalid:1 cannot be reached"):
        async with asynctls.connect("nowhere.invalid:1", identity=identity):
            pass


async def test_without_an_identity_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="none"):
        async with asynctls.connect("127.0.0.1:1", identity=tmp_path / "none"):
            pass
    with pytest.raises(IdentityError, match="none"):
        await asynctls.serve(greet, "127.0.0.1:0", identity=tmp_path / "none", allow=["any"])


async def test_a_server_must_say_whom_it_lets_in(joined: Any) -> None:
    identity = await joined("server")
    with pytest.raises(ConfigError, match="nobody could connect"):
        await asynctls.serve(greet, "127.0.0.1:0", identity=identity, allow=[])
    with pytest.raises(ConfigError, match="no pattern"):
        await asynctls.serve(greet, "127.0.0.1:0", identity=identity, allow=["*"])


async def test_a_server_that_drains_tells_its_clients_and_lets_them_finish(
    asynctls_ca: Any, logged: Any
) -> None:
    client = asynctls_ca.identity("client")
    serving = asynctls.serving(
        echo,
        "127.0.0.1:0",
        identity=asynctls_ca.identity("server"),
        allow=["client"],
        drain_s=30.0,
    )
    address = str(await serving.__aenter__())
    async with asynctls.connect(address, server_name="server", identity=client) as session:
        ending = asyncio.create_task(serving.__aexit__(None, None, None))
        await session.until_going_away()
        await session.send(b"the last one", receipt=True)
        assert await session.receive() == b"the last one"
        with pytest.raises(ServerUnreachableError):
            async with asynctls.connect(address, server_name="server", identity=client):
                pytest.fail("a server that drains let somebody in")
        await session.finish_sending()
        assert [message async for message in session] == []
    await ending
    ends = {event["reason"] for event in logged.named("session ended")}
    assert ends == {"both ends closed it"}


async def test_limits_are_what_the_program_says(asynctls_ca: Any) -> None:
    small = asynctls.Limits(max_message_bytes=3)
    async with asynctls.serving(
        echo,
        "127.0.0.1:0",
        identity=asynctls_ca.identity("server"),
        allow=["any"],
        limits=small,
    ) as address:
        client = asynctls_ca.identity("client")
        async with asynctls.connect(str(address), server_name="server", identity=client) as session:
            with pytest.raises(MessageTooLargeError):
                await session.send(b"four")
            await session.send(b"two")
            assert await session.receive() == b"two"
