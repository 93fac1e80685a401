"""SIGHUP: config, identity and CRL as they are now are taken, all or nothing.

Nobody's session ends because of it, but those of peers that would no longer be let in.
"""

from __future__ import annotations

import json
import signal
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.errors import (
    ErrorCode,
    HandshakeError,
    ServerUnreachableError,
    SessionRefusedError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.testing import CA
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


@pytest.mark.one_loop
async def test_another_config_counts_from_then_on_also_for_whoever_is_there(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    identity, config = ca.identity("server"), tmp_path / "server.toml"

    def write(*lines: str) -> None:
        config.write_text("\n".join(["[server]", f'state = "{identity.folder}"', *lines]))

    write('listen = "127.0.0.1:0"', 'app = "echo"', 'allow = ["one", "two"]')
    server = await asynctls.start("server", "--config", config)
    address = str((await server.event("listening"))["address"])
    one, two = ca.identity("one"), ca.identity("two")
    async with AsyncExitStack() as stack:
        leaving = await stack.enter_async_context(
            library.connect(address, server_name="server", identity=one)
        )
        async with library.connect(address, server_name="server", identity=two) as staying:
            write(
                'listen = "127.0.0.1:0"',
                'allow = ["two"]',
                'message = "another"',
                'drain = "1s"',
            )
            server.signal(signal.SIGHUP)
            assert (await server.event("reloaded"))["changed"] == [
                "allow",
                "app",
                "message",
                "drain",
            ]
            with pytest.raises(SessionRefusedError) as refused:
                await leaving.receive()
            assert refused.value.error_code == ErrorCode.NOT_ALLOWED
            # Whoever stays has the app that it came for; whoever comes has the new one.
            await staying.send(b"hello")
            assert await staying.receive() == b"hello"
            async with library.connect(address, server_name="server", identity=two) as session:
                assert await session.receive() == b"another"

            # Whatever is wrong is told at once, and nothing of it counts.
            write('listen = "127.0.0.1:0"', 'allow = ["one", "*"]', 'drain = "soon"')
            crl = identity.crl_file.read_text()
            identity.crl_file.write_text("no CRL")
            server.signal(signal.SIGHUP)
            failed = str((await server.event("reload failed"))["error"])
            assert "server.drain" in failed
            assert "the CRLs are damaged" in failed
            write('listen = "127.0.0.1:0"', 'allow = ["one", "*"]', 'log_format = "json"')
            server.signal(signal.SIGHUP)
            failed = str((await server.event("reload failed", count=2))["error"])
            assert "server.log_format" in failed
            assert "server.allow" in failed
            await staying.send(b"still here")
            assert await staying.receive() == b"still here"
            async with library.connect(address, server_name="server", identity=two) as session:
                assert await session.receive() == b"another"

            # Nobody is put out because there are fewer places.
            identity.crl_file.write_text(crl)
            write('listen = "127.0.0.1:0"', 'allow = ["two"]', "max_connections = 1")
            server.signal(signal.SIGHUP)
            await server.event("reloaded", count=2)
            with pytest.raises((HandshakeError, ServerUnreachableError)):
                async with library.connect(address, server_name="server", identity=two):
                    pass
            await staying.send(b"and still")
            assert await staying.receive() == b"and still"
        with suppress(SessionRefusedError):
            await stack.aclose()
    assert (await server.stop()).code == 0
