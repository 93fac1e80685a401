"""What a worker and its supervisor say (`runtime.channel`): messages, or a `WorkerError`."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec

from asynctls.errors import WorkerError
from asynctls.runtime.channel import (
    _ORDERS,
    _REPORTS,
    Accepting,
    Answer,
    Ask,
    Begin,
    Changed,
    Channel,
    Family,
    Reloaded,
    Sample,
    receive_begin,
)
from tests.fuzz.scratch import completed


def run(data: bytes) -> bool:
    """What came until the other end had ended."""
    taken = [completed(_heard(data, decoder)) for decoder in (_ORDERS, _REPORTS)]
    return any([*taken, _begins(data)])


async def _heard(data: bytes, decoder: msgspec.json.Decoder[Any]) -> int:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    channel: Channel[Any] = Channel(reader, None, decoder)  # type: ignore[arg-type]
    heard = 0
    try:
        while (message := await channel.receive()) is not None:
            assert decoder.decode(msgspec.json.encode(message)) == message
            heard += 1
    except WorkerError as error:
        assert str(error)
    return heard


def _begins(data: bytes) -> bool:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data[: 1 << 14])
        ours.close()
        try:
            return receive_begin(theirs).sockets is not None
        except WorkerError as error:
            assert str(error)
            return False


def _sent(*messages: object) -> bytes:
    contents = map(msgspec.json.encode, messages)
    return b"".join(len(each).to_bytes(4, "big") + each for each in contents)


def seeds() -> dict[str, bytes]:
    """Orders, reports, and what is neither."""
    sample = Sample("asynctls_connections", {"role": "server"}, 1.5)
    return {
        "begin": _sent(Begin(1, [("listen", 3)], b"pickled")),
        "orders": _sent(Changed("-----BEGIN"), Ask(count=True)),
        "reports": _sent(
            Accepting(), Reloaded(None), Answer([Family("name", "words", "gauge", [sample])])
        ),
        "no-length": b"\xff\xff\xff\xff",
        "no-json": b"\0\0\0\x01{",
        "no-depth": (200).to_bytes(4, "big") + b"[" * 200,
        "no-end": b"\0\0\0\x09{}",
    }
