"""A session ends with the first of its two certificates, and when its peer is revoked."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.enrolment import Identity
from asynctls.errors import ErrorCode, SessionClosedError, SessionRefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.roles.processes import Daemons

BRIEF, HOUR = timedelta(seconds=6), timedelta(hours=1)
MESSAGE = b"The OTP for transferring Rs 1,00,000 to your friend's account is 256345."


@pytest.mark.parametrize("brief", ["client", "server"])
async def test_a_session_ends_with_the_first_certificate_that_does(
    asynctls: Daemons, ttp: Any, issued: Any, tmp_path: Path, brief: str
) -> None:
    lifetimes = {name: BRIEF if name == brief else HOUR for name in ("server", "client")}
    # It joins once it has started, however long that takes on a busy machine.
    token = await ttp.token("server", lifetime=lifetimes["server"])
    server = await asynctls.start(
        *("server", "--state", tmp_path / "server", "--listen", "127.0.0.1:0"),
        *("--key-type", "ecdsa-p256", "--allow", "client"),
        environ={"ASYNCTLS_JOIN": token.format()},
    )
    address = str((await server.event("listening"))["address"])
    held = {
        "server": Identity.load(tmp_path / "server"),
        "client": await issued("client", lifetime=lifetimes["client"]),
    }
    words = f"the certificate of {brief} ended at {held[brief].not_after:%Y-%m-%dT%H:%M:%SZ}"
    async with library.connect(address, server_name="server", identity=held["client"]) as session:
        ended = await server.event("session ended")
        assert words in str(ended["reason"])
        assert ended["peer"] == f"client (serial {held['client'].serial})"
        # Both ends look at their clocks: which of them ends it is chance.
        with pytest.raises((SessionClosedError, SessionRefusedError), match=words):
            async for _ in session:
                pass
    assert not server.named("message sent")


async def test_who_is_revoked_is_ended_and_nobody_else(
    asynctls: Daemons, issued: Any, logged: Any, tmp_path: Path
) -> None:
    server, address = await asynctls.server(await issued("server"), "--allow", "other")
    async with AsyncExitStack() as stack:
        sessions = {}
        for name in ("client", "other"):
            connection = library.connect(address, server_name="server", identity=await issued(name))
            sessions[name] = await stack.enter_async_context(connection)
        await server.event("session started", count=2)
        logged.events.clear()
        await asynctls.run("ttp", "revoke", "client", "--state", tmp_path / "ttp")
        await logged.until("CRL current")
        server.signal(signal.SIGHUP)
        ended = await server.event("session ended")
        assert str(ended["peer"]).startswith("client (serial ")
        assert "its certificate is revoked" in str(ended["reason"])
        assert await sessions["client"].receive() == MESSAGE
        with pytest.raises(SessionRefusedError, match="certificate is revoked") as caught:
            await sessions["client"].receive()
        assert caught.value.error_code == ErrorCode.CERTIFICATE_REVOKED

        assert await sessions["other"].receive() == MESSAGE
        sent = await server.event("message sent")
        assert str(sent["peer"]).startswith("other (serial ")
    assert len(server.named("message sent")) == 1
