"""One address that connects without end keeps nobody else out, and costs little."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

import asynctls as library
from asynctls.config import Address
from asynctls.testing import CA
from tests.scraping import scrape

if TYPE_CHECKING:
    from pathlib import Path

    from tests.roles.processes import Daemons

MIB = 1 << 20
AT_A_TIME = 20


def hello() -> bytes:
    """What a client of sessions says first."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["asynctls/1"])
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="server")
    with suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


async def attack(where: Address, first: bytes) -> None:
    """Connects, says this and no more, and stays for as long as it may; again and again."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(
                where.host, where.port, local_addr=("127.0.0.2", 0)
            )
            try:
                writer.write(first)
                while await reader.read(65536):
                    pass
            finally:
                writer.transport.abort()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", [b"", hello()], ids=["says nothing", "says hello"])
async def test_one_address_that_storms_keeps_nobody_else_out(
    asynctls: Daemons, tmp_path: Path, request: pytest.FixtureRequest, first: bytes
) -> None:
    talks = 100 if request.config.getoption("--long", default=False) else 5
    (tmp_path / "ca").mkdir()
    ca = CA(tmp_path / "ca")
    server, address = await asynctls.server(
        ca.identity("server"),
        *("--app", "echo", "--metrics-listen", "127.0.0.1:0", "--handshake-timeout", "2s"),
        *("--max-connections", str(AT_A_TIME), "--handshakes", "4"),
    )
    metrics = str((await server.event("metrics served"))["address"])
    before = await scrape(metrics)
    identity = ca.identity("client")
    attackers = [
        asyncio.create_task(attack(Address.parse(address), first)) for _ in range(AT_A_TIME)
    ]
    try:
        await server.event("connection not taken")
        for _ in range(talks):
            async with (
                asyncio.timeout(5),
                library.connect(address, server_name="server", identity=identity) as session,
            ):
                await session.send(b"hello", receipt=True)
                assert await session.receive() == b"hello"
    finally:
        for each in attackers:
            each.cancel()
        await asyncio.gather(*attackers, return_exceptions=True)
    after = await scrape(metrics)
    refused = after.value("asynctls_connections_not_taken_total", limit="per_address")
    told = server.named("connection not taken")
    assert {each["limit"] for each in told} == {"per address"}
    assert sum(1 + each["left_out"] for each in told) <= refused
    assert len(told) <= 2 + talks
    grown = after.value("process_resident_memory_bytes") - before.value(
        "process_resident_memory_bytes"
    )
    assert grown < 64 * MIB
    assert (await server.stop()).code == 0
