"""What tunnels lead to: plain TCP, that greets and closes, or echoes. Run by `contenders`.

    python -m tests.bench.backend

It prints two ports (who greets, who echoes), and serves until standard input ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

__all__: list[str] = []


class Greeter(asyncio.Protocol):
    """One byte, and the end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast("asyncio.WriteTransport", transport)
        writing.write(b"!")
        writing.write_eof()


class Echo(asyncio.Protocol):
    """Back with it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, received: bytes) -> None:
        self._transport.write(received)


async def main() -> None:
    """Both, on ports of their own."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    servers = [await loop.create_server(each, "127.0.0.1", 0) for each in (Greeter, Echo)]
    sys.stdout.write(" ".join(str(each.sockets[0].getsockname()[1]) for each in servers) + "\n")
    sys.stdout.flush()
    await ended.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
