"""Who may come in, and how much: what a server's settings do to those who connect."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.config import Address
from asynctls.errors import HandshakeError, ServerUnreachableError
from asynctls.session import ALPN
from tests.scraping import scrape

if TYPE_CHECKING:
    from asynctls.enrolment import Identity
    from tests.roles.processes import Daemons

pytestmark = pytest.mark.one_loop


async def silent(address: str, identity: Identity) -> asyncio.StreamWriter:
    """A client of another make, which shakes hands for a session and opens none."""
    context = ssl.create_default_context(cafile=identity.trust_file)
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    context.set_alpn_protocols([ALPN])
    where = Address.parse(address)
    _, writer = await asyncio.open_connection(
        where.host, where.port, ssl=context, server_hostname="server"
    )
    return writer


async def test_a_pinned_peer_comes_in_so_often_from_one_address_and_has_so_long(
    asynctls: Daemons, issued: Any
) -> None:
    client = await issued("whoever")
    server, address = await asynctls.server(
        await issued("server"),
        *("--app", "echo", "--metrics-listen", "127.0.0.1:0", "--session-timeout", "1s"),
        *("--allow", str(client.pin)),
        *("--max-connections", "5", "--max-connections-per-address", "1"),
    )
    metrics = str((await server.event("metrics served"))["address"])
    async with library.connect(address, server_name="server", identity=client) as session:
        await session.send(b"hello", receipt=True)
        with pytest.raises((HandshakeError, ServerUnreachableError)):
            async with library.connect(address, server_name="server", identity=client):
                pass
        event = await server.event("connection not taken")
        assert (event["limit"], event["most"]) == ("per address", 1)
        assert "max_connections_per_address" in event["advice"]
    await server.event("session ended")

    writer = await silent(address, client)
    ended = await server.event("session ended", count=2)
    assert ended["reason"] == "this end has ended the session: no KEY came within 1 s"
    writer.transport.abort()
    counted = await scrape(metrics)
    assert counted.value("asynctls_connections_not_taken_total", limit="per_address") == 1
    assert counted.value("asynctls_sessions_not_opened_total", reason="time_out") == 1
    assert counted.value("asynctls_messages_total", direction="received") == 1
    assert (await server.stop()).code == 0
