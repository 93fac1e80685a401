"""Live sessions by the thousand go on while their server takes another identity and config."""

from __future__ import annotations

import asyncio
import resource
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.client.connecting import open_session
from asynctls.config import Address
from asynctls.enrolment.keeper import Keeper
from asynctls.pki.names import format_serial
from asynctls.session import Limits
from tests.roles.conftest import issued

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls import Session
    from tests.roles.processes import Daemons
    from tests.soak.conftest import Size

__all__ = ["issued"]

_AT_A_TIME = 32
_KEPT = 200


async def echoed(session: Session, message: bytes) -> None:
    await session.send(message)
    assert await session.receive() == message


@pytest.mark.timeout(900)
@pytest.mark.one_loop
async def test_no_session_ends_because_of_a_reload(
    asynctls: Daemons, issued: Any, size: Size, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = size.enrolments
    if hard < count + _KEPT:
        pytest.skip(f"this user may not have {count} connections")
    # The server inherits it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + _KEPT), hard))
    identity, config = await issued("server"), tmp_path / "server.toml"
    common = (
        f'[server]\nstate = "{identity.folder}"\nlisten = "127.0.0.1:0"\napp = "echo"\n'
        f'allow = ["client"]\nmax_connections_per_address = {count + 1}\n'
    )
    config.write_text(common)
    server = await asynctls.start("server", "--config", config)
    address = str((await server.event("listening"))["address"])
    places = asyncio.Semaphore(_AT_A_TIME)
    async with AsyncExitStack() as stack:
        keeper = await stack.enter_async_context(
            Keeper(await issued("client"), crl_interval=timedelta(hours=1))
        )

        async def opened() -> Session:
            async with places:
                return await stack.enter_async_context(
                    open_session(
                        keeper,
                        Address.parse(address),
                        server_name="server",
                        timeout_s=60,
                        limits=Limits(),
                    )
                )

        sessions = await asyncio.gather(*(opened() for _ in range(count)))
        for round_number in range(3):
            renewed = await issued("server")
            config.write_text(f'{common}drain = "{round_number + 1}s"\n')
            server.signal(signal.SIGHUP)
            await server.event("reloaded", count=round_number + 1)
            reloaded = await server.event("identity reloaded", count=round_number + 1)
            assert reloaded["serial"] == renewed.serial
            await asyncio.gather(*(echoed(session, b"still here") for session in sessions))
        newcomer = await opened()
        assert format_serial(newcomer.peer.serial_number) == renewed.serial
        assert not server.named("session ended")
    await server.event("session ended", count=count + 1)
    assert {each["reason"] for each in server.named("session ended")} == {"both ends closed it"}
    assert (await server.stop()).code == 0
