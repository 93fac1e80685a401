"""SIGHUP: what is on disk now is taken, all or nothing, and nobody's session ends because of it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import asynctls as library

if TYPE_CHECKING:
    from tests.roles.processes import Daemons

MESSAGE = b"The OTP for transferring Rs 1,00,000 to your friend's account is 256345."


async def test_a_new_identity_is_shown_from_then_on_and_live_sessions_go_on(
    asynctls: Daemons, issued: Any
) -> None:
    before = await issued("server")
    server, address = await asynctls.server(before)
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity) as session:
        assert session.peer.serial == before.serial
        after = await issued("server")
        assert after.serial != before.serial
        server.signal(signal.SIGHUP)
        assert (await server.event("identity reloaded"))["serial"] == after.serial
        client = await asynctls.client(identity, address, "--json")
        assert json.loads((await client.ended()).out)["serial"] == after.serial
        assert await session.receive() == MESSAGE
    await server.event("session ended", count=2)
    assert {event["reason"] for event in server.named("session ended")} == {"both ends closed it"}


async def test_what_cannot_be_used_is_not_taken(asynctls: Daemons, issued: Any) -> None:
    identity = await issued("server")
    server, address = await asynctls.server(identity)
    identity.certificate_file.write_text("no certificate")
    server.signal(signal.SIGHUP)
    failed = await server.event("reload failed")
    assert str(identity.folder) in str(failed["error"])
    client = await asynctls.client(await issued("client"), address)
    assert (await client.ended()).code == 0
