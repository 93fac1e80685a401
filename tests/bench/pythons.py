"""The servers written in Python, ours and the stock ones, each as a process: run by `contenders`.

    python -m tests.bench.pythons uvloop|asyncio KIND STATE

It prints its port, and serves until standard input ends.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

import asynctls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

GREETING = b"!"
_PIECE = 1 << 16


async def greet(stream: Any) -> None:
    """What nginx's `return` does: answers, and closes."""
    stream.write(GREETING)
    await stream.drain()
    if isinstance(stream, asyncio.StreamWriter):
        stream.close()
        await stream.wait_closed()


async def echo(stream: asynctls.PeerStream) -> None:
    """Sends back what comes."""
    while piece := await stream.read(_PIECE):
        stream.write(piece)
        await stream.drain()


async def echo_session(session: asynctls.Session) -> None:
    """Sends back each message."""
    async for message in session:
        await session.send(message)


async def flood_session(session: asynctls.Session) -> None:
    """Sends as many messages as the first one asks for, of the size that it says."""
    count, size = map(int, (await session.receive()).split())
    message = bytes(size)
    for _ in range(count):
        await session.send(message)


async def sink_session(session: asynctls.Session) -> None:
    """Takes all, and says how many there were."""
    taken = 0
    async for _ in session:
        taken += 1
    await session.send(str(taken).encode())


@asynccontextmanager
async def _ours(handler: Callable[[Any], Awaitable[None]], state: Path) -> AsyncIterator[int]:
    async with asynctls.serving_streams(
        handler, "127.0.0.1:0", identity=state, allow=["client"]
    ) as address:
        yield address.port


@asynccontextmanager
async def _sessions(app: Callable[[Any], Awaitable[None]], state: Path) -> AsyncIterator[int]:
    async with asynctls.serving(app, "127.0.0.1:0", identity=state, allow=["client"]) as address:
        yield address.port


@asynccontextmanager
async def _stock(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], state: Path
) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM")
    context.load_cert_chain(state / "cert.pem", state / "key.pem")
    context.load_verify_locations(state / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _stock_greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await greet(writer)


async def _stock_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    writer.close()


KINDS: dict[str, Callable[[Path], Any]] = {
    "ours-greet": lambda state: _ours(greet, state),
    "ours-echo": lambda state: _ours(echo, state),
    "session-echo": lambda state: _sessions(echo_session, state),
    "session-flood": lambda state: _sessions(flood_session, state),
    "session-sink": lambda state: _sessions(sink_session, state),
    "stock-greet": lambda state: _stock(_stock_greet, state),
    "stock-echo": lambda state: _stock(_stock_echo, state),
}


async def main(kind: str, state: Path) -> None:
    """Serves until whoever started it closes standard input."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    async with KINDS[kind](state) as port:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    _, chosen_loop, chosen, folder = sys.argv
    loop = uvloop.new_event_loop if chosen_loop == "uvloop" else asyncio.SelectorEventLoop
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main(chosen, Path(folder)))
