"""Connections over real sockets: none can end another, none outlives its owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeAlias

import pytest

from asynctls.config import Address
from asynctls.errors import TruncatedError
from asynctls.runtime import Connections, listen
from asynctls.runtime.observing import Observer
from asynctls.runtime.places import Limit, Places

Events = list[MutableMapping[str, Any]]
Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Until = Callable[[Callable[[], object]], Awaitable[None]]

LOOPBACK = Address("127.0.0.1", 0)


@asynccontextmanager
async def dial(
    address: Address, *, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Reader, Writer]]:
    reader, writer = await asyncio.open_connection(address.host, address.port, local_addr=(host, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


class Counted(Observer):
    def __init__(self) -> None:
        self.limits: list[Limit] = []

    def connection_not_taken(self, limit: Limit) -> None:
        self.limits.append(limit)


async def serve_line(reader: Reader, writer: Writer) -> None:
    """``fail``, ``cut``, ``cancel``: ends so; anything else comes back."""
    line = (await reader.readline()).decode().strip()
    match line:
        case "fail":
            raise RuntimeError("a bug")
        case "group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(serve_line(reader, writer))
        case "cut":
            raise TruncatedError("the peer went away")
        case "cancel":
            raise asyncio.CancelledError
        case "wait":
            await asyncio.Event().wait()
    writer.write(line.encode())


def names(events: Events) -> list[str]:
    return [event["event"] for event in events if event["event"] != "listening"]


async def ended(reader: Reader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("way", ["fail", "group\nfail", "cut", "cancel"])
async def test_a_connection_that_fails_leaves_the_others_alone(way: str, events: Events) -> None:
    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(serve_line), role="server") as listener,
        dial(listener.address) as (good_reader, good_writer),
    ):
        async with dial(listener.address) as (reader, writer):
            writer.write(f"{way}\n".encode())
            assert await ended(reader)
        good_writer.write(b"hello\n")
        assert await good_reader.read() == b"hello"
        listener.close()
        await connections.drain(10)
    if way == "cancel":
        assert names(events) == []
    else:
        (event,) = (event for event in events if event["event"] == "connection failed")
        assert event["address"].startswith("127.0.0.1:")
        assert ("exc_info" in event) is ("fail" in way)


async def test_a_fault_while_bytes_come_in_ends_its_connection_and_no_other(
    events: Events,
) -> None:
    def fail(_data: bytes) -> None:
        raise MemoryError

    async def serve(reader: Reader, writer: Writer) -> None:
        if await reader.readline() == b"fault\n":
            reader.feed_data = fail  # type: ignore[method-assign, assignment]
            writer.write(b"now\n")
            await reader.read()
        writer.write(b"hello\n")

    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(serve), role="server") as listener,
        dial(listener.address) as (good_reader, good_writer),
    ):
        async with dial(listener.address) as (reader, writer):
            writer.write(b"fault\n")
            assert await reader.readline() == b"now\n"
            writer.write(b"bytes")
            assert await ended(reader)
        good_writer.write(b"hello\n")
        assert await good_reader.read() == b"hello\n"
        listener.close()
        await connections.drain(10)
    assert names(events) == ["connection failed"]


async def test_a_peer_that_resets_is_one_line() -> None:
    async def read(reader: Reader, writer: Writer) -> None:
        raise ConnectionResetError("gone")

    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(read), role="server") as listener,
        dial(listener.address) as (reader, _),
    ):
        assert await ended(reader)
        await connections.drain(10)
        assert connections.live == 0


async def test_beyond_a_limit_a_connection_is_closed_at_once_and_logged_once(
    events: Events,
) -> None:
    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(
            LOOPBACK, connections.served_by(serve_line, places=Places(1)), role="server"
        ) as listener,
    ):
        async with dial(listener.address) as (first_reader, first_writer):
            for _ in range(5):
                async with dial(listener.address) as (reader, _):
                    assert await ended(reader)
            first_writer.write(b"hello\n")
            assert await first_reader.read() == b"hello"
        await connections.drain(10)
    (event,) = (event for event in events if event["event"] == "connection not taken")
    assert event["address"].startswith("127.0.0.1:")
    assert (event["limit"], event["most"], event["left_out"]) == ("in all", 1, 0)
    assert "max_connections" in event["advice"]


async def test_one_address_keeps_no_other_out(events: Events, until: Until) -> None:
    counted = Counted()
    async with (
        asyncio.timeout(20),
        Connections(observer=counted) as connections,
        listen(
            LOOPBACK, connections.served_by(serve_line, places=Places(4)), role="server"
        ) as listener,
    ):
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(dial(listener.address, host="127.0.0.2"))
            await until(lambda: connections.live == 2)
            async with dial(listener.address, host="127.0.0.2") as (reader, _):
                assert await ended(reader)
            async with dial(listener.address) as (reader, writer):
                writer.write(b"hello\n")
                assert await reader.read() == b"hello"
        await until(lambda: not connections.live)
        async with dial(listener.address, host="127.0.0.2") as (reader, writer):
            writer.write(b"again\n")
            assert await reader.read() == b"again"
        await connections.drain(10)
    assert counted.limits == [Limit.PER_ADDRESS]
    (event,) = (event for event in events if event["event"] == "connection not taken")
    assert event["address"].startswith("127.0.0.2:")
    assert (event["limit"], event["most"]) == ("per address", 2)


async def test_a_drain_waits_for_the_live_ones(events: Events, until: Until) -> None:
    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(serve_line), role="server") as listener,
        dial(listener.address) as (reader, writer),
    ):
        await until(lambda: connections.live)
        draining = asyncio.create_task(connections.drain(10))
        await asyncio.sleep(0)
        writer.write(b"hello\n")
        assert await reader.read() == b"hello"
        await draining
    assert names(events) == []


@pytest.mark.parametrize("timeout_s", [0.0, 0.01])
async def test_a_drain_cuts_off_what_lasts_too_long(
    timeout_s: float, events: Events, until: Until
) -> None:
    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(serve_line), role="server") as listener,
        dial(listener.address) as (reader, writer),
    ):
        writer.write(b"wait\n")
        await until(lambda: connections.live)
        await connections.drain(timeout_s)
        assert connections.live == 0
        assert await ended(reader)
    assert names(events) == ["connections cut off"]


async def test_while_draining_nobody_new_is_taken() -> None:
    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(serve_line), role="server") as listener,
    ):
        await connections.drain(0)
        async with dial(listener.address) as (reader, _):
            assert await ended(reader)


async def test_an_abort_ends_a_drain(until: Until) -> None:
    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(serve_line), role="server") as listener,
        dial(listener.address) as (reader, writer),
    ):
        writer.write(b"wait\n")
        await until(lambda: connections.live)
        draining = asyncio.create_task(connections.drain(3600))
        await asyncio.sleep(0)
        connections.abort()
        await draining
        assert await ended(reader)


async def test_leaving_the_context_leaves_no_task(until: Until) -> None:
    async def leave() -> None:
        async with (
            asyncio.timeout(20),
            Connections() as connections,
            listen(LOOPBACK, connections.served_by(serve_line), role="server") as listener,
            dial(listener.address) as (_, writer),
        ):
            writer.write(b"wait\n")
            await until(lambda: connections.live)
            raise ZeroDivisionError

    before = asyncio.all_tasks()
    # As it is, in no group: a fault of the config must stay one for whoever catches it.
    with pytest.raises(ZeroDivisionError):
        await leave()
    assert asyncio.all_tasks() == before


async def test_a_peer_that_does_not_read_cannot_keep_a_socket(
    monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    monkeypatch.setattr("asynctls.runtime.connections._CLOSE_S", 0.05)

    async def pour(reader: Reader, writer: Writer) -> None:
        writer.write(bytes(50_000_000))

    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(LOOPBACK, connections.served_by(pour), role="server") as listener,
        dial(listener.address) as (_, writer),
    ):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: connections.live)
        await connections.drain(10)
        assert connections.live == 0


async def test_what_was_taken_just_before_an_abort_is_closed_as_well() -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))

    async with asyncio.timeout(20), Connections() as connections:
        accept = connections.served_by(serve_line)

        def take(reader: Reader, writer: Writer) -> None:
            accept(reader, writer)
            # Its task has not begun: nothing of it will run.
            connections.abort()

        async with (
            listen(LOOPBACK, take, role="server") as listener,
            dial(listener.address) as (
                reader,
                _,
            ),
        ):
            assert await ended(reader)
    assert not faults
