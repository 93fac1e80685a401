"""The default app: one message to each client, which counts as sent when its receipt is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.errors import SessionRefusedError

if TYPE_CHECKING:
    from tests.roles.processes import Daemons

TEXT = 'zwölf Euro, "quoted"\nand a second line'


async def test_the_configured_message_goes_to_each_client(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--message", TEXT)
    identity = await issued("client")
    for number in (1, 2):
        async with library.connect(address, server_name="server", identity=identity) as session:
            assert (await session.receive()).decode() == TEXT
        sent = await server.event("message sent", count=number)
        assert sent["bytes"] == len(TEXT.encode())
        assert sent["peer"] == f"client (serial {identity.serial})"
    # It is the client's business, not the log's.
    assert "zw" not in str(server.events)


async def test_a_client_that_never_acknowledges_is_given_up(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--receipt-timeout", "1s")
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity) as session:
        ended = await server.event("session ended")
        assert "no receipt came within 1 s" in str(ended["reason"])
        await session.receive()
        with pytest.raises(SessionRefusedError, match="no receipt came within 1 s"):
            await session.receive()
    assert not server.named("message sent")


async def test_the_end_of_a_session_says_what_it_cost(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"))
    client = await asynctls.client(await issued("client"), address)
    assert (await client.ended()).code == 0
    common = {"hellos", "certificates", "key_exchange", "finished", "CLOSE", "alerts"}
    for each, more in (
        (server, {"READY", "DATA", "tickets"}),
        (client, {"KEY", "RECEIPT", "certificate_verify"}),
    ):
        ended = await each.event("session ended")
        sent: Any = ended["sent"]
        assert common | more <= set(sent)
        assert all(count > 0 for count in sent.values())
        assert float(str(ended["hmac_us"])) > 0
