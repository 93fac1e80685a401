"""Of a server of a test's own nothing is left, however its test ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.listening import listening


async def test_its_connections_are_closed_when_it_ends() -> None:
    async def wait_for_ever(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with listening(wait_for_ever) as address:
        # The second one may not have been handed over when it ends.
        readers = [
            await asyncio.open_connection(address.host, address.port),
            await asyncio.open_connection(address.host, address.port),
        ]
    for reader, writer in readers:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_goes_wrong_in_it_fails_the_test() -> None:
    async def stumble(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        raise LookupError

    async def ask() -> None:
        async with listening(stumble) as address:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            assert await reader.read() == b""
            writer.close()

    with pytest.raises(LookupError):
        await ask()
