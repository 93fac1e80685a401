"""Tunnels with and without sessions, both halves in this process: what comes through them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.alerts import Alert
from tests.ports import free_port
from tests.roles.halves import Way, halves
from tests.roles.tunnelling import Backend, answer_each, answer_to, asked, asked_for, opened

if TYPE_CHECKING:
    from asynctls.testing import CA

pytestmark = pytest.mark.timeout(60)

BOTH = pytest.mark.parametrize("way", ["plain", "session"])
ENDED = {"plain": "stream ended", "session": "session ended"}
IN_ORDER = "both ends closed it"
MIB = 1 << 20
BRIEF = timedelta(seconds=5)


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes as a program that dies with data unread: RST."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@BOTH
async def test_each_size_comes_through_whole_and_each_direction_ends_by_itself(
    ca: CA, logged: Any, way: Way
) -> None:
    async with (
        Backend().at() as backend,
        halves(ca.identity("server"), ca.identity("client"), backend, way=way) as tunnel,
    ):
        contents = [b"ten bytes.", b"", bytes(5_000_000)]
        answers = await asyncio.gather(*(asked(tunnel.where, content) for content in contents))
        assert answers == [answer_to(content) for content in contents]
        await logged.until(ENDED[way], count=6)
        assert {each["reason"] for each in logged.named(ENDED[way])} == {IN_ORDER}
        assert not logged.named("connection failed")


@BOTH
async def test_much_comes_through(ca: CA, way: Way) -> None:
    much = bytes(24 * MIB)
    async with (
        Backend(answer_each).at() as backend,
        halves(ca.identity("server"), ca.identity("client"), backend, way=way) as tunnel,
    ):
        assert await asked_for(tunnel.where, much) == answer_to(much)


@BOTH
@pytest.mark.parametrize("side", ["behind", "before"])
async def test_a_lost_connection_on_one_side_is_a_reset_on_the_other_and_never_an_end(
    ca: CA, logged: Any, way: Way, side: str
) -> None:
    at_backend: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def serve(*streams: Any) -> None:
        at_backend.put_nowait(streams)
        await streams[1].wait_closed()

    async with (
        Backend(serve).at() as backend,
        halves(ca.identity("server"), ca.identity("client"), backend, way=way) as tunnel,
    ):
        before = await opened(tunnel.where)
        before[1].write(b"a part")
        behind = await at_backend.get()
        assert await behind[0].readexactly(6) == b"a part"
        lost, other = (behind, before) if side == "behind" else (before, behind)
        # What had arrived before is given; then comes no end.
        lost[1].write(b"the last word")
        assert await other[0].readexactly(13) == b"the last word"
        reset(lost[1])
        with pytest.raises(ConnectionResetError):
            await other[0].read()
        await logged.until(ENDED[way], count=2)
        reasons = [each["reason"] for each in logged.named(ENDED[way])]
        assert IN_ORDER not in reasons
        assert any("without TLS was lost" in each or "cut off" in each for each in reasons)
        other[1].transport.abort()


async def stalled(tunnel_at: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, int]:
    """A connection into which we have written until nobody took more; and how much that is."""
    reader, writer = await opened(tunnel_at)
    writer.transport.set_write_buffer_limits(high=0)
    written = 0
    with contextlib.suppress(TimeoutError):
        while True:
            writer.write(bytes(MIB))
            written += MIB
            async with asyncio.timeout(0.5):
                await writer.drain()
    return reader, writer, written


@BOTH
async def test_a_program_that_takes_nothing_stops_the_other_and_loses_nothing(
    ca: CA, logged: Any, way: Way
) -> None:
    go_on = asyncio.Event()

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        received = 0
        while piece := await reader.read(MIB):
            received += len(piece)
        writer.write(str(received).encode())
        writer.close()

    async with (
        Backend(later).at() as backend,
        halves(ca.identity("server"), ca.identity("client"), backend, way=way) as tunnel,
    ):
        reader, writer, written = await stalled(tunnel.where)
        # Sockets of this machine hold some MiB each; the halves next to nothing.
        assert written < 40 * MIB
        writer.write_eof()
        go_on.set()
        assert await reader.read() == str(written).encode()
        writer.close()
        await logged.until(ENDED[way], count=2)
        assert {each["reason"] for each in logged.named(ENDED[way])} == {IN_ORDER}


@BOTH
async def test_who_is_revoked_is_cut_off_also_while_its_program_stands_still(
    ttp: Any, issued: Any, logged: Any, way: Way
) -> None:
    hold = asyncio.Event()
    told = asyncio.get_running_loop().create_future()

    async def takes_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        try:
            while await reader.read(MIB):
                pass
        except ConnectionResetError:
            told.set_result("a reset")
        else:
            told.set_result("an end")
        writer.transport.abort()

    async with (
        Backend(takes_nothing).at() as backend,
        halves(await issued("server"), await issued("client"), backend, way=way) as tunnel,
    ):
        reader, writer, _ = await stalled(tunnel.where)
        await ttp.authority.revoke("client")
        await tunnel.server.refresh_crl()
        ended = await logged.until(ENDED[way], count=2)
        assert any("revoked" in str(each["reason"]) for each in logged.named(ENDED[way])), ended
        hold.set()
        # A part is never told as the whole.
        assert await told == "a reset"
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.transport.abort()


@pytest.mark.parametrize(("way", "other"), [("plain", "session"), ("session", "plain")])
async def test_session_on_one_end_alone_is_told_on_both(
    ca: CA, logged: Any, way: Way, other: Way
) -> None:
    async with (
        Backend().at() as backend,
        halves(
            ca.identity("server"),
            ca.identity("client"),
            backend,
            way=way,
            client_way=other,
        ) as tunnel,
    ):
        with pytest.raises(ConnectionResetError):
            await asked(tunnel.where, b"is anybody there?")
        failed = await logged.until("connection failed")
        assert "--session on" in str(failed["error"])
        at_server = await logged.until("refused" if way == "session" else "refused by peer")
        assert at_server["alert"] == Alert.NO_APPLICATION_PROTOCOL


@BOTH
async def test_what_is_forwarded_to_and_not_there_is_told(ca: CA, logged: Any, way: Way) -> None:
    backend = f"127.0.0.1:{free_port()}"
    async with halves(ca.identity("server"), ca.identity("client"), backend, way=way) as tunnel:
        with pytest.raises(ConnectionResetError):
            await asked(tunnel.where, b"is anybody there?")
        await logged.until(ENDED[way], count=2)
        reasons = [str(each["reason"]) for each in logged.named(ENDED[way])]
        assert any(f"forwarded to, {backend}, cannot be reached" in each for each in reasons)
        assert not logged.named("connection failed")


@BOTH
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses at once")
async def test_what_is_forwarded_to_and_does_not_answer_is_given_up_in_time(
    ca: CA, logged: Any, way: Way
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        host, port = deaf.getsockname()
        # Whoever comes after this one is not answered: the queue is full.
        with socket.create_connection((host, port)):
            async with halves(
                ca.identity("server"),
                ca.identity("client"),
                f"{host}:{port}",
                way=way,
                reach_timeout=timedelta(milliseconds=300),
            ) as tunnel:
                with pytest.raises(ConnectionResetError):
                    await asked(tunnel.where, b"is anybody there?")
                await logged.until(ENDED[way], count=2)
    reasons = [str(each["reason"]) for each in logged.named(ENDED[way])]
    assert any("cannot be reached: no answer within 0.3 s" in each for each in reasons)


@BOTH
@pytest.mark.parametrize("whose", ["server", "client"])
async def test_a_connection_ends_with_its_certificate_and_that_is_no_end_of_the_data(
    ca: CA, logged: Any, way: Way, whose: str
) -> None:
    server, client = (
        ca.identity(name, ends_in=BRIEF) if name == whose else ca.identity(name)
        for name in ("server", "client")
    )
    async with (
        Backend().at() as backend,
        halves(server, client, backend, way=way) as tunnel,
    ):
        reader, writer = await opened(tunnel.where)
        writer.write(b"under way")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await logged.until(ENDED[way], count=2)
        words = f"the certificate of {whose} ended at"
        assert any(words in str(each["reason"]) for each in logged.named(ENDED[way]))


@BOTH
async def test_a_connection_that_is_kept_outlives_both_certificates_but_no_revocation(
    ttp: Any, issued: Any, logged: Any, way: Way
) -> None:
    server, client = [await issued(name, lifetime=BRIEF) for name in ("server", "client")]
    async with (
        Backend(answer_each).at() as backend,
        halves(server, client, backend, way=way, live_after_expiry="keep") as tunnel,
    ):
        reader, writer = await opened(tunnel.where)

        async def echoed() -> None:
            writer.write((4).to_bytes(4, "big") + b"1234")
            assert await reader.readexactly(68) == answer_to(b"1234")

        await echoed()
        await logged.until("certificate outlived", count=2)
        # A new CRL has everybody judged again; one that names another does not end it.
        await issued("other")
        await ttp.authority.revoke("other")
        await asyncio.gather(tunnel.server.refresh_crl(), tunnel.client.refresh_crl())
        await echoed()
        # By serial: as a name's certificate it has ended already.
        await ttp.authority.revoke(client.serial)
        await tunnel.server.refresh_crl()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await logged.until(ENDED[way], count=2)
        assert any("revoked" in str(each["reason"]) for each in logged.named(ENDED[way]))


async def test_what_is_set_anew_counts_for_who_comes_then_and_so_do_the_places(
    ca: CA, logged: Any
) -> None:
    ends = (ca.identity("server"), ca.identity("client"))
    async with (
        Backend(answer_each).at() as backend,
        halves(*ends, backend, way="plain", max_connections=1) as tunnel,
    ):
        first = await opened(tunnel.where)
        await logged.until("stream started", count=2)
        second = await opened(tunnel.where)
        with contextlib.suppress(ConnectionResetError):
            assert await second[0].read() == b""
        assert (await logged.until("connection not taken"))["most"] == 1

        tunnel.take(max_connections=2, server_name="another")
        third = await opened(tunnel.where)
        with pytest.raises(ConnectionResetError):
            await third[0].read()
        assert "another" in str((await logged.until("connection failed"))["error"])
        first[1].write((4).to_bytes(4, "big") + b"1234")
        assert await first[0].readexactly(68) == answer_to(b"1234")
        for _, writer in (first, second, third):
            writer.close()
