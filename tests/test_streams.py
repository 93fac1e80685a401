"""Plain mutual-TLS streams, used as asyncio's are; their peers are admitted, and put out."""

from __future__ import annotations

import asyncio
import gc
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import structs

import asynctls
from asynctls.admission import Anyone, Rules, admit, allow_list
from asynctls.client.streams import open_peer_stream
from asynctls.config import Address
from asynctls.enrolment import Keeper
from asynctls.errors import (
    ConfigError,
    PeerRefusedError,
    RefusedByPeerError,
    ServerUnreachableError,
    TruncatedError,
)
from asynctls.server import accepting, serving_streams
from asynctls.server.accepting import Acceptor, Terms
from asynctls.server.running import serving_alone
from asynctls.server.services import Service
from asynctls.server.streams import StreamServer
from asynctls.testing import CA, StreamPair, stream_pair


@pytest.fixture
def ca(tmp_path: Path) -> CA:
    return CA(tmp_path)


async def echo(stream: asynctls.PeerStream) -> None:
    while piece := await stream.read(1000):
        stream.write(piece)
        await stream.drain()


class Sends:
    """Sends these pieces one by one, as separate TLS records, then does as it is told."""

    def __init__(self, *pieces: bytes, cut: bool = False) -> None:
        self._pieces = pieces
        self._cut = cut
        self.go_on = asyncio.Event()

    async def __call__(self, stream: asynctls.PeerStream) -> None:
        for piece in self._pieces:
            stream.write(piece)
            await stream.drain()
        if self._cut:
            await self.go_on.wait()
            stream.abort()


async def test_a_program_of_asyncios_streams_works_on_them(ca: CA) -> None:
    async with stream_pair(ca, echo) as pair:
        stream = pair.stream
        stream.writelines([b"one\n", b"two\r\n", b"three"])
        await stream.drain()
        assert await stream.readline() == b"one\n"
        assert await stream.readuntil(b"\r\n") == b"two\r\n"
        assert await stream.readexactly(3) == b"thr"
        assert await stream.read(0) == b""
        assert not stream.at_eof()
        assert stream.can_write_eof()
        stream.write_eof()
        assert await stream.read() == b"ee"
        assert stream.at_eof()
        assert await stream.read() == await stream.read(1) == await stream.readline() == b""
        with pytest.raises(RuntimeError):
            stream.write(b"after the end")
        assert not stream.is_closing()
        stream.close()
        assert stream.is_closing()
        await stream.wait_closed()
        await stream.wait_closed()


async def test_the_guides_lines_work_as_they_are_written(
    ca: CA, logged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    guide = Path(__file__).parents[1] / "docs" / "guide" / "streams.md"
    serve_lines, connect_lines = (
        block.partition("```")[0] for block in guide.read_text().split("```python\n")[1:3]
    )
    for name in ("server", "client"):
        ca.identity(name).folder.rename(tmp_path / f"{name}-state")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    serve_lines = serve_lines.replace("127.0.0.1:8443", "127.0.0.1:0")
    exec(serve_lines.replace("await asynctls.serve", "served = asynctls.serve"), names)
    task = asyncio.ensure_future(names["served"])
    try:
        address = str((await logged.until("listening"))["address"])
        body = connect_lines.replace("127.0.0.1:8443", address).splitlines()
        exec("async def main():\n" + "".join(f"    {line}\n" for line in body), names)
        await names["main"]()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert capsys.readouterr().out == "b'client: HELLO\\n'\n"


async def test_the_peer_is_known(ca: CA) -> None:
    names = []

    async def note(stream: asynctls.PeerStream) -> None:
        names.append(stream.peer.name)
        stream.write(repr(stream).encode())

    async with stream_pair(ca, note) as pair:
        stream = pair.stream
        assert (await stream.read()).startswith(b"<PeerStream with client (serial ")
        assert stream.peer.sans == ("server",)
        assert stream.peer.fingerprint == pair.server.fingerprint
        host, _, port = pair.address.rpartition(":")
        assert stream.get_extra_info("peername") == (host, int(port))
        assert isinstance(stream.get_extra_info("socket").fileno(), int)  # type: ignore[attr-defined]
        assert stream.get_extra_info("no such thing", "none") == "none"
        assert stream.tls.alpn is None
    assert names == ["client"]


async def test_lines_end_where_they_end(ca: CA) -> None:
    async with stream_pair(ca, Sends(b"a", b"b\nc\n", b"\n", b"d")) as pair:
        assert [line async for line in pair.stream] == [b"ab\n", b"c\n", b"\n", b"d"]
    async with stream_pair(ca, Sends(b"first-", b"-second", b"--", b"rest")) as pair:
        assert await pair.stream.readuntil(b"--") == b"first--"
        assert await pair.stream.readuntil(b"--") == b"second--"
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await pair.stream.readuntil(b"--")
        assert caught.value.partial == b"rest"
        with pytest.raises(ValueError, match="separator"):
            await pair.stream.readuntil(b"")


async def test_a_line_without_end_is_not_kept(ca: CA) -> None:
    async with stream_pair(ca, Sends(bytes(100_000), b"\n")) as pair:
        with pytest.raises(asyncio.LimitOverrunError):
            await pair.stream.readline()
        assert len(await pair.stream.read()) == 100_001


async def test_too_few_bytes_are_an_incomplete_read(ca: CA) -> None:
    async with stream_pair(ca, Sends(b"123")) as pair:
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await pair.stream.readexactly(4)
        assert (caught.value.partial, caught.value.expected) == (b"123", 4)
        with pytest.raises(ValueError, match="negative"):
            await pair.stream.readexactly(-1)


@pytest.mark.parametrize("how", ["read", "readline", "readexactly", "readuntil"])
async def test_what_is_cut_off_is_never_an_end(ca: CA, how: str) -> None:
    sends = Sends(b"a part", cut=True)
    async with stream_pair(ca, sends) as pair:
        assert await pair.stream.readexactly(2) == b"a "
        sends.go_on.set()
        read = getattr(pair.stream, how)
        with pytest.raises(TruncatedError):
            await (read(5) if how == "readexactly" else read())
        # What had arrived before is not lost.
        assert await pair.stream.read(4) == b"part"
        with pytest.raises(TruncatedError):
            await pair.stream.read(1)


async def test_a_slow_reader_slows_the_writer_down(ca: CA) -> None:
    written = 0
    blocked = asyncio.Event()

    async def flood(stream: asynctls.PeerStream) -> None:
        nonlocal written
        while not blocked.is_set():
            stream.write(bytes(1 << 20))
            written += 1 << 20
            drain = asyncio.ensure_future(stream.drain())
            done, _ = await asyncio.wait([drain], timeout=0.2)
            if not done:
                blocked.set()
            await drain

    async with stream_pair(ca, flood) as pair:
        await blocked.wait()
        received = 0
        while piece := await pair.stream.read(1 << 16):
            received += len(piece)
    assert received == written


async def test_a_stream_is_ended_when_its_own_or_its_peers_certificate_ends(
    ca: CA, logged: Any
) -> None:
    server = ca.identity("server")
    client = ca.identity("client", ends_in=timedelta(seconds=2))
    async with serving_streams(echo, "127.0.0.1:0", identity=server, allow=["client"]) as address:
        with pytest.raises(TruncatedError, match="the certificate of client ended at"):
            async with asynctls.open_stream(
                str(address), server_name="server", identity=client
            ) as stream:
                await stream.read()
        ended = await logged.until("stream ended")
    assert "client ended at" in ended["reason"] or "connection was lost" in ended["reason"]


async def test_a_stream_is_ended_when_its_peer_is_revoked(ttp: Any, joined: Any) -> None:
    reasons: list[str] = []
    here = asyncio.Event()

    async def wait(stream: asynctls.PeerStream) -> None:
        here.set()
        try:
            await stream.read()
        except TruncatedError as error:
            reasons.append(str(error))
            raise

    async with Keeper(await joined("server"), crl_interval=timedelta(hours=1)) as keeper:
        service = Service(
            setting="listen",
            listen=Address("127.0.0.1", 0),
            terms=Terms(Anyone(), None, handshakes=8, handshake_timeout_s=10),
            serves=lambda acceptor, _: StreamServer(wait, acceptor),
        )
        async with serving_alone(service, keeper, drain_s=0.0) as address:
            client = asynctls.open_stream(
                str(address), server_name="server", identity=await joined("client")
            )
            stream = await client.__aenter__()
            await here.wait()
            await ttp.authority.revoke("client")
            await keeper.refresh_crl()
            with pytest.raises(TruncatedError) as caught:
                await stream.read()
            assert await client.__aexit__(TruncatedError, caught.value, None) is False
    assert len(reasons) == 1
    assert "this end cut client" in reasons[0]
    assert "revoked" in reasons[0]


async def test_a_peer_that_news_of_the_last_moment_put_out_is_not_served(
    ca: CA, monkeypatch: pytest.MonkeyPatch, logged: Any
) -> None:
    """The rules change when `admit` has said yes, and before the handler is called."""
    served: list[asynctls.PeerStream] = []
    acceptors: list[Acceptor] = []
    terms = Terms(Anyone(), None, handshakes=8, handshake_timeout_s=10)

    def admit_and_think_again(*args: Any, **options: Any) -> Any:
        verdict = admit(*args, **options)
        acceptors[0].take(structs.replace(terms, allow=allow_list(["another"])))
        return verdict

    async def serve(stream: asynctls.PeerStream) -> None:
        served.append(stream)

    def serves(acceptor: Acceptor, _: object) -> StreamServer:
        acceptors.append(acceptor)
        return StreamServer(serve, acceptor)

    monkeypatch.setattr(accepting, "admit", admit_and_think_again)
    service = Service(setting="listen", listen=Address("127.0.0.1", 0), terms=terms, serves=serves)
    async with (
        Keeper(ca.identity("server"), crl_interval=timedelta(hours=1)) as keeper,
        serving_alone(service, keeper, drain_s=0.0) as address,
    ):
        with pytest.raises(TruncatedError):
            async with asynctls.open_stream(
                str(address), server_name="server", identity=ca.identity("client")
            ) as stream:
                await stream.read()
        assert "not on the allow list" in (await logged.until("stream ended"))["reason"]
    assert not served


async def test_a_live_stream_holds_no_rules_of_the_time_when_it_began(ca: CA) -> None:
    """They have the CRLs of then: megabytes, where many certificates are revoked."""
    async with stream_pair(ca, echo) as made:
        made.stream.write(b"here")
        assert await made.stream.read(4) == b"here"
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Rules)]


async def test_both_ends_find_a_dead_peer_in_the_time_that_is_set(ca: CA) -> None:
    found: list[int] = []

    def look(stream: asynctls.PeerStream) -> None:
        connection = cast("socket.socket", stream.get_extra_info("socket"))
        found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    async def serve(stream: asynctls.PeerStream) -> None:
        look(stream)

    service = Service(
        setting="listen",
        listen=Address("127.0.0.1", 0),
        terms=Terms(Anyone(), None, handshakes=8, handshake_timeout_s=10, keepalive_s=20),
        serves=lambda acceptor, _: StreamServer(serve, acceptor),
    )
    hour = timedelta(hours=1)
    async with (
        Keeper(ca.identity("server"), crl_interval=hour) as serving_keeper,
        Keeper(ca.identity("client"), crl_interval=hour) as keeper,
        serving_alone(service, serving_keeper, drain_s=0.0) as address,
        open_peer_stream(
            keeper, address, server_name="server", timeout_s=10, keepalive_s=30
        ) as stream,
    ):
        look(stream)
        assert await stream.read() == b""
    assert sorted(found) == [20_000, 30_000]


async def test_a_stream_that_is_closing_and_still_reads_is_ended_too(ca: CA, logged: Any) -> None:
    held: asyncio.Queue[asynctls.PeerStream] = asyncio.Queue()

    async def read_on(stream: asynctls.PeerStream) -> None:
        stream.close()
        held.put_nowait(stream)
        await stream.read()

    async with stream_pair(ca, read_on):
        (await held.get()).cut_off("its certificate is revoked")
        assert (await logged.until("stream ended"))["reason"] == "its certificate is revoked"


async def test_a_close_that_two_wait_for_can_still_be_cut_short(
    ca: CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynctls.tls.closing.LINGER_S", 600)
    done = asyncio.Event()

    async def stay(_stream: asynctls.PeerStream) -> None:
        await done.wait()

    async with stream_pair(ca, stay) as pair:
        first = asyncio.create_task(pair.stream.wait_closed())
        await asyncio.sleep(0)
        await pair.stream.wait_closed()
        pair.stream.abort()
        async with asyncio.timeout(20):
            await first
        done.set()


async def test_who_is_not_let_in_hears_why(ca: CA) -> None:
    server, stranger = ca.identity("server"), ca.identity("stranger")
    async with serving_streams(echo, "127.0.0.1:0", identity=server, allow=["client"]) as address:
        with pytest.raises(RefusedByPeerError, match="not on its allow list"):
            async with asynctls.open_stream(str(address), server_name="server", identity=stranger):
                pass
        with pytest.raises(PeerRefusedError, match="--server-name server"):
            async with asynctls.open_stream(
                str(address), server_name="another", identity=ca.identity("client")
            ):
                pass
    with pytest.raises(ServerUnreachableError):
        async with asynctls.open_stream(str(address), identity=stranger):
            pass
    with pytest.raises(ConfigError, match="nobody could connect"):
        await asynctls.serve_streams(echo, "127.0.0.1:0", identity=server, allow=[])


async def test_a_handler_that_fails_ends_its_stream_alone(ca: CA, logged: Any) -> None:
    async def fail(stream: asynctls.PeerStream) -> None:
        if await stream.readline() == b"fail\n":
            raise ZeroDivisionError("an error of the handler's")
        stream.write(b"fine")

    async with stream_pair(ca, fail) as healthy:
        async with asynctls.open_stream(
            healthy.address, server_name="server", identity=healthy.client
        ) as failing:
            failing.write(b"fail\n")
            with pytest.raises(TruncatedError):
                await failing.read()
        healthy.stream.write(b"work\n")
        assert await healthy.stream.read() == b"fine"
    assert "handler failed: ZeroDivisionError" in logged.named("stream ended")[0]["reason"]


async def test_serving_that_is_cancelled_leaves_nothing_behind(ca: CA, logged: Any) -> None:
    server, client = ca.identity("server"), ca.identity("client")
    before = asyncio.all_tasks()
    task = asyncio.create_task(
        asynctls.serve_streams(echo, "127.0.0.1:0", identity=server, allow=["client"])
    )
    address = str((await logged.until("listening"))["address"])
    async with asynctls.open_stream(address, server_name="server", identity=client) as stream:
        stream.write(b"here")
        assert await stream.read(4) == b"here"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(TruncatedError):
            await stream.read()
    assert task.cancelled()
    assert asyncio.all_tasks() == before


async def test_a_client_that_is_cancelled_cuts_the_stream(ca: CA, logged: Any) -> None:
    async def use(pair: StreamPair) -> None:
        async with asynctls.open_stream(
            pair.address, server_name="server", identity=pair.client
        ) as stream:
            stream.write(b"here")
            assert await stream.read(4) == b"here"
            there.set()
            await stream.read()

    there = asyncio.Event()
    async with stream_pair(ca, echo) as pair:
        task = asyncio.create_task(use(pair))
        await there.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert "without saying" in (await logged.until("stream ended"))["reason"]
