"""A tunnel's half whose peer is put out while its program takes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.errors import TruncatedError
from asynctls.runtime.carrying import carry
from asynctls.testing import CA, stream_pair
from asynctls.tls import PlainStream

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls import PeerStream

_PATIENCE_S = 20


async def test_a_peer_that_is_put_out_is_so_while_its_program_stands_still(
    tmp_path: Path, logged: Any
) -> None:
    half: asyncio.Queue[PeerStream] = asyncio.Queue()
    program: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()

    async def takes_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        program.put_nowait(reader)
        await writer.wait_closed()

    async with asyncio.timeout(_PATIENCE_S):
        listener = await asyncio.start_server(takes_nothing, "127.0.0.1", 0)
        host, port = listener.sockets[0].getsockname()

        async def forwarded(stream: PeerStream) -> None:
            plain = PlainStream(*await asyncio.open_connection(host, port))
            half.put_nowait(stream)
            await carry(stream, plain)

        async with stream_pair(CA(tmp_path), forwarded) as pair:
            drained = True
            while drained:
                pair.stream.write(bytes(1 << 20))
                drain = asyncio.ensure_future(pair.stream.drain())
                drained = bool((await asyncio.wait([drain], timeout=0.5))[0])
            (await half.get()).cut_off("its certificate is revoked")
            ended = await logged.until("stream ended")
            assert ended["reason"] == "its certificate is revoked"
            with pytest.raises(TruncatedError):
                await drain
            # It must not take a part for the whole.
            with pytest.raises(ConnectionResetError):
                await (await program.get()).read()
        listener.close()
