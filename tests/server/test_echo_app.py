"""The app 'echo': each message goes back to whom it came from, until the client has said all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import asynctls as library
from asynctls.errors import SessionClosedError

if TYPE_CHECKING:
    from tests.roles.processes import Daemons

MESSAGES = [b"one", b"", b"\xff\x00\n", bytes(range(256)) * 1024]


async def test_what_comes_goes_back_byte_for_byte(asynctls: Daemons, issued: Any) -> None:
    server, address = await asynctls.server(await issued("server"), "--app", "echo")
    identity = await issued("client")
    async with library.connect(address, server_name="server", identity=identity) as session:
        for message in MESSAGES:
            await session.send(message, receipt=True)
            assert await session.receive() == message
        await session.finish_sending()
        with pytest.raises(SessionClosedError):
            await session.receive()
    assert (await server.event("session ended"))["reason"] == "both ends closed it"
    echoed = [event["bytes"] for event in server.named("message echoed")]
    assert echoed == [len(message) for message in MESSAGES]


async def test_each_client_gets_its_own(asynctls: Daemons, issued: Any) -> None:
    _, address = await asynctls.server(await issued("server"), "--app", "echo")
    identity = await issued("client")

    async def talk(number: int) -> None:
        async with library.connect(address, server_name="server", identity=identity) as session:
            for turn in range(20):
                message = f"{number}: {turn}".encode()
                await session.send(message)
                assert await session.receive() == message

    async with asyncio.TaskGroup() as clients:
        for number in range(5):
            clients.create_task(talk(number))
