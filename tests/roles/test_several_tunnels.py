"""Several services in one process, from one config file."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

import asynctls as library
from asynctls.errors import RefusedByPeerError
from tests.roles.tunnelling import Backend, answer_to, asked, opened

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.testing import CA
    from tests.roles.processes import Daemons, Process

pytestmark = pytest.mark.one_loop


async def addresses(process: Process, count: int) -> list[str]:
    await process.event("listening", count=count)
    return [str(each["address"]) for each in process.named("listening")]


@pytest.mark.one_loop
async def test_each_goes_its_own_way_and_all_drain_together(
    asynctls: Daemons, ca: CA, tmp_path: Path
) -> None:
    server_config, client_config = tmp_path / "server.toml", tmp_path / "client.toml"
    mine, other = ca.identity("client"), ca.identity("other")
    async with Backend().at() as first, Backend().at(tmp_path / "second") as second:
        server_config.write_text(
            f'[server]\nstate = "{ca.identity("server").folder}"\nallow = ["client"]\n'
            f'[[server.tunnel]]\nlisten = "127.0.0.1:0"\napp = "forward:{first}"\n'
            f'[[server.tunnel]]\nlisten = "127.0.0.1:0"\napp = "forward:{second}"\n'
            '[[server.tunnel]]\nlisten = "127.0.0.1:0"\napp = "echo"\nallow = ["other"]\n'
        )
        server = await asynctls.start("server", "--config", server_config)
        to_first, to_second, to_echo = await addresses(server, 3)
        client_config.write_text(
            f'[client]\nstate = "{mine.folder}"\nserver_name = "server"\n'
            f'[[client.tunnel]]\nlisten = "127.0.0.1:0"\nconnect = "{to_first}"\n'
        )
        client = await asynctls.start("client", "--config", client_config)
        (at_first,) = await addresses(client, 1)
        # One more, while it runs.
        with client_config.open("a") as file:
            file.write(f'[[client.tunnel]]\nlisten = "unix:local"\nconnect = "{to_second}"\n')
        client.signal(signal.SIGHUP)
        assert (await client.event("reloaded"))["changed"] == ["tunnel"]
        _, at_second = await addresses(client, 2)
        assert at_second == f"unix:{tmp_path / 'local'}"
        assert await asked(at_first, b"one") == answer_to(b"one")
        assert await asked(at_second, b"two") == answer_to(b"two")

        # The third has sessions, and lets in somebody else.
        with pytest.raises(RefusedByPeerError, match="not on its allow list"):
            async with library.connect(to_echo, server_name="server", identity=mine):
                pass
        async with library.connect(to_echo, server_name="server", identity=other) as session:
            await session.send(b"hello")
            assert await session.receive() == b"hello"

            under_way = [await opened(at_first), await opened(at_second)]
            for _, writer in under_way:
                writer.write(b"under way")
            await server.event("stream started", count=4)
            await client.event("stream started", count=4)
            for each in (client, server):
                each.signal(signal.SIGTERM)
            draining = await server.event("draining")
            assert draining["connections"] == 3
        for reader, writer in under_way:
            writer.write_eof()
            assert await reader.read() == answer_to(b"under way")
            writer.close()
        assert [(await each.ended()).code for each in (client, server)] == [0, 0]


@pytest.mark.one_loop
async def test_if_one_cannot_listen_none_does(asynctls: Daemons, ca: CA, tmp_path: Path) -> None:
    config = tmp_path / "client.toml"
    async with Backend().at() as taken:
        config.write_text(
            f'[client]\nstate = "{ca.identity("client").folder}"\n'
            '[[client.tunnel]]\nlisten = "unix:local"\n'
            f'[[client.tunnel]]\nlisten = "{taken}"\n'
        )
        ended = await asynctls.run("client", "--config", config)
    assert ended.code == 2
    assert f"client.tunnel[2].listen ({taken}): the address is in use" in "".join(ended.said)
    assert not (tmp_path / "local").exists()
