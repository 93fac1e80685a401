"""Tunnels of both our halves: what comes through, how it ends, what is never an end."""

from __future__ import annotations

import asyncio
import signal
import stat
from typing import TYPE_CHECKING

import pytest

from tests.ports import free_port
from tests.roles.tunnelling import Backend, answer_to, asked, client_half, opened

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.testing import CA
    from tests.roles.processes import Daemons


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_ten_bytes_or_many_come_through_with_their_ends(
    asynctls: Daemons, ca: CA, tmp_path: Path, kind: str
) -> None:
    unix = kind == "unix"
    async with Backend().at(tmp_path / "backend" if unix else None) as backend:
        _, address = await asynctls.server(ca.identity("server"), "--app", f"forward:{backend}")
        listen = f"unix:{tmp_path / 'local'}" if unix else "127.0.0.1:0"
        client, where = await client_half(asynctls, ca.identity("client"), address, listen=listen)
        contents = [b"ten bytes.", b"", bytes(5_000_000)]
        answers = await asyncio.gather(*(asked(where, content) for content in contents))
        assert answers == [answer_to(content) for content in contents]
        if unix:
            assert stat.S_IMODE((tmp_path / "local").stat().st_mode) == 0o600
        await client.event("stream ended", count=3)
        assert {str(each["reason"]) for each in client.named("stream ended")} == {
            "both ends closed it"
        }
        assert (await client.stop()).code == 0
        assert not (tmp_path / "local").exists()


async def test_what_a_killed_client_left_behind_is_replaced_and_what_is_alive_is_not(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    path, identity = tmp_path / "local", ca.identity("client")
    killed, where = await client_half(asynctls, identity, "127.0.0.1:1", listen=f"unix:{path}")
    await killed.kill()
    assert path.exists()
    alive, _ = await client_half(asynctls, identity, "127.0.0.1:1", listen=where)
    words = ("--state", identity.folder, "--listen", where)
    ended = await asynctls.run("client", *words)
    assert ended.code == 2
    assert "client.listen" in "".join(ended.said)
    assert path.exists()
    assert (await alive.stop()).code == 0
    path.write_text("no socket")
    assert (await asynctls.run("client", *words)).code == 2
    assert path.read_text() == "no socket"


async def test_a_tunnel_that_is_told_to_stop_lets_what_is_under_way_end(
    asynctls: Daemons, ca: CA
) -> None:
    async with Backend().at() as backend:
        server, address = await asynctls.server(
            ca.identity("server"), "--app", f"forward:{backend}"
        )
        client, where = await client_half(asynctls, ca.identity("client"), address)
        reader, writer = await opened(where)
        writer.write(b"under way")
        await server.event("stream started")
        for each in (client, server):
            each.signal(signal.SIGTERM)
            await each.event("draining")
        with pytest.raises(ConnectionRefusedError):
            await opened(where)
        writer.write_eof()
        assert await reader.read() == answer_to(b"under way")
        writer.close()
        assert [(await each.ended()).code for each in (client, server)] == [0, 0]


async def test_where_no_tunnel_is_nobody_takes_it_for_an_end(asynctls: Daemons, ca: CA) -> None:
    backend = f"127.0.0.1:{free_port()}"
    server, address = await asynctls.server(ca.identity("server"), "--app", f"forward:{backend}")
    client, where = await client_half(asynctls, ca.identity("client"), address)
    with pytest.raises(ConnectionResetError):
        await asked(where, b"is anybody there?")
    assert f"forwarded to, {backend}, cannot be reached" in str(
        (await server.event("stream ended"))["reason"]
    )
    stranger, elsewhere = await client_half(asynctls, ca.identity("stranger"), address)
    with pytest.raises(ConnectionResetError):
        await asked(elsewhere, b"may I?")
    assert "not on its allow list" in str((await stranger.event("connection failed"))["error"])
    assert (await server.event("refused"))["alert"] == 49
    await server.stop()
    with pytest.raises(ConnectionResetError):
        await asked(where, b"is anybody there?")
    await client.until(
        lambda: any("cannot be reached" in str(e.get("error")) for e in client.events),
        "a server that cannot be reached",
    )


async def test_a_client_of_sessions_is_no_half_of_a_tunnel(asynctls: Daemons, ca: CA) -> None:
    async with Backend().at() as backend:
        _, address = await asynctls.server(ca.identity("server"), "--app", f"forward:{backend}")
        ended = await (await asynctls.client(ca.identity("client"), address)).ended()
    assert ended.code == 1
    assert "--listen" in "".join(ended.said)
