"""Listening, and why it may not be possible."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from asynctls.config import Address
from asynctls.errors import ConfigError
from asynctls.runtime import Connections, listen
from tests.remarks import without_remarks

Events = list[MutableMapping[str, Any]]
Spawn = Callable[..., Any]
Until = Callable[[Callable[[], object]], Awaitable[None]]


def shut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def visit(address: Address) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_real_address_is_logged(host: str, events: Events) -> None:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with asyncio.timeout(20), listen(Address(host, 0), shut, role="ttp") as listener:
        assert listener.address.host == host
        assert listener.address.port > 0
        assert await visit(listener.address) == b""
    (event,) = events
    assert event["event"] == "listening"
    assert event["address"] == str(listener.address)
    assert event["role"] == "ttp"


async def test_a_name_listens_on_all_its_addresses_with_one_port(events: Events) -> None:
    async with asyncio.timeout(20), listen(Address("localhost", 0), shut, role="ttp") as listener:
        for server in listener.servers:
            for one in server.sockets:
                host, port = one.getsockname()[:2]
                assert port == listener.address.port
                assert await visit(Address(host, port)) == b""
    assert len(events) == 1


async def test_a_closed_listener_takes_nobody_and_its_port_is_free_again() -> None:
    async with asyncio.timeout(20), listen(Address("127.0.0.1", 0), shut, role="ttp") as listener:
        assert await visit(listener.address) == b""
        listener.close()
        listener.close()
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await visit(listener.address)
        async with listen(listener.address, shut, role="ttp") as again:
            assert again.address == listener.address


async def test_closing_does_not_wait_for_connections(until: Until) -> None:
    held: list[asyncio.StreamWriter] = []
    async with asyncio.timeout(20):
        async with listen(
            Address("127.0.0.1", 0), lambda reader, writer: held.append(writer), role="ttp"
        ) as listener:
            reader, writer = await asyncio.open_connection(*_pair(listener.address))
            await until(lambda: held)
        held[0].write(b"still here")
        held[0].close()
        assert await reader.read() == b"still here"
        writer.close()
        await writer.wait_closed()


async def test_what_is_written_is_sent_at_once_and_waits_for_no_acknowledgement() -> None:
    """Nagle's algorithm would hold a second frame back for 40 ms (RFC 896; RFC 1122, 4.2.3.2)."""
    without_delay: asyncio.Queue[int] = asyncio.Queue()

    def look(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        one = writer.get_extra_info("socket")
        without_delay.put_nowait(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with asyncio.timeout(20), listen(Address("127.0.0.1", 0), look, role="ttp") as listener:
        await visit(listener.address)
        assert await without_delay.get()


def _pair(address: Address) -> tuple[str, int]:
    return address.host, address.port


async def refusal(address: Address) -> str:
    with pytest.raises(ConfigError) as refused:
        async with listen(address, shut, role="server"):
            pass
    (fault,) = refused.value.faults
    assert (fault.key, fault.source) == ("server.listen", str(address))
    return fault.problem


async def test_an_address_in_use_is_told() -> None:
    async with listen(Address("127.0.0.1", 0), shut, role="ttp") as listener:
        assert "in use" in await refusal(listener.address)


async def test_an_address_of_another_machine_is_told() -> None:
    assert "none of this machine's" in await refusal(Address("192.0.2.1", 8443))


async def test_a_host_that_nobody_knows_is_told() -> None:
    assert "cannot be found" in await refusal(Address("no-such-host.invalid", 8443))


@pytest.fixture
def privileged_port() -> int:
    floor = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if os.geteuid() == 0 or (floor.exists() and int(floor.read_text()) <= 1):
        pytest.skip("here this user may listen anywhere")
    return 1


async def test_a_port_that_needs_a_privilege_is_told(privileged_port: int) -> None:
    assert "privilege" in await refusal(Address("127.0.0.1", privileged_port))


STORM = """
import asyncio, resource, socket, sys
from asynctls import logs
from asynctls.config import Address
from asynctls.runtime import Connections, listen, run
from asynctls.runtime.places import Places
async def greet(reader, writer):
    await reader.readline()
    writer.write(b"hello")
async def main():
    logs.configure("json")
    async with Connections() as connections:
        accept = connections.served_by(greet, places=Places(1000, sockets=0))
        async with listen(Address("127.0.0.1", 0), accept, role="server") as listener:
            print(listener.address.port, flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            files = []
            try:
                while True:
                    files.append(open("/dev/null"))
            except OSError:
                pass
            print("full", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            for file in files:
                file.close()
            print("room", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
run(main())
"""


def test_a_daemon_without_descriptors_lives_on_and_says_so_sparingly(spawn: Spawn) -> None:
    process = spawn(STORM)

    def step() -> str:
        process.stdin.write("\n")
        process.stdin.flush()
        return str(process.stdout.readline())

    port = int(process.stdout.readline())
    assert step() == "full\n"
    visitors = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(20)]
    # Some may be closed, some taken later; the daemon must be there for the next one.
    assert step() == "room\n"
    for visitor in visitors:
        visitor.close()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as late:
        late.sendall(b"\n")
        assert late.recv(100) == b"hello"
    step()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = [json.loads(line) for line in without_remarks(err).splitlines()]
    assert len(lines) < 30
    assert sum(line["event"] == "event loop" for line in lines) <= 2


async def test_connections_are_taken_by_the_listener() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    async with (
        asyncio.timeout(20),
        Connections() as connections,
        listen(Address("127.0.0.1", 0), connections.served_by(greet), role="server") as listener,
    ):
        assert await visit(listener.address) == b"hello"
