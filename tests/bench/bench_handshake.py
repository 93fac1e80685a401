"""What a mutual TLS handshake costs a server: run me as a script.

Ours (`tls.Stream` on uvloop) beside `asyncio.start_server(ssl=…)` on uvloop and on the standard
loop: each a process of its own, with the same context, asked in turns by one client. What is
measured is the server's processor time for a connection: handshake, one byte, close. Absolute
times belong to one machine and hour; the ratios, taken side by side, carry over.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import KeyType, generate_now, key_to_pem
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root
from asynctls.tls import Gate, Stream, client_context, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

KEY_TYPES = (KeyType.ECDSA_P256, KeyType.RSA_2048)
ROUNDS = 15
HANDSHAKES = 20
DAY = timedelta(days=1)

Handle = Any


@dataclass(frozen=True)
class Files:
    """Chains and keys of a server and a client, by name, and whom both trust."""

    folder: Path
    trust: str

    def chain(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def make_files(folder: Path, key_type: KeyType) -> Files:
    """Certificates of one kind, the CAs' as well."""
    now = datetime.now(UTC)
    root_key, issuing_key = generate_now(key_type), generate_now(key_type)
    root = Issuer(make_root(root_key, lifetime=3 * DAY, now=now), root_key)
    issuing = Issuer(
        make_issuing(issuing_key.public_key(), issuer=root, lifetime=2 * DAY, now=now), issuing_key
    )
    files = Files(folder, to_pem(root.certificate, issuing.certificate))
    for name, profile in (("server", Profile.SERVER), ("client", Profile.CLIENT)):
        key = generate_now(key_type)
        leaf = issue(
            profile,
            issuer=issuing,
            public_key=key.public_key(),
            sans=(name,),
            lifetime=DAY,
            now=now,
        )
        files.chain(name).write_text(to_pem(leaf, issuing.certificate))
        files.key(name).write_bytes(key_to_pem(key))
    return files


class LetIn:
    """What `admit` answers here: the price of a decision is admission's."""

    alert = None
    reason = ""


def ours(context: ssl.SSLContext) -> tuple[Handle, None]:
    """A handler of plain connections, which does TLS itself."""
    gate = Gate(64)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await Stream.accept(
            reader, writer, context, admit=lambda *_: LetIn(), gate=gate, timeout_s=10
        )
        stream.write(b"!")
        await stream.close()

    return handle, None


def stock(context: ssl.SSLContext) -> tuple[Handle, ssl.SSLContext]:
    """A handler of connections on which the loop has done TLS."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        writer.close()
        await writer.wait_closed()

    return handle, context


SERVERS: dict[str, tuple[Callable[[ssl.SSLContext], Any], Callable[[], Any]]] = {
    "ours, uvloop": (ours, uvloop.new_event_loop),
    "start_server(ssl=…), uvloop": (stock, uvloop.new_event_loop),
    "start_server(ssl=…), asyncio": (stock, asyncio.SelectorEventLoop),
}


def serve(name: str, files: Files, pipe: Any) -> None:
    """A server's process: tells its port, then its processor time whenever it is asked."""
    kind, loop_factory = SERVERS[name]

    async def main() -> None:
        stop = asyncio.Event()
        handle, tls = kind(
            server_context(chain=files.chain("server"), key=files.key("server"), trust=files.trust)
        )
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)

        def answer() -> None:
            if pipe.recv() == "stop":
                stop.set()
            else:
                pipe.send(time.process_time())

        asyncio.get_running_loop().add_reader(pipe.fileno(), answer)
        pipe.send(server.sockets[0].getsockname()[1])
        await stop.wait()
        server.close()

    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        # A core for whoever serves, the others for the client.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


class Server:
    """A server's process, as its client sees it."""

    def __init__(self, name: str, files: Files) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, far = spawning.Pipe()
        self.process = spawning.Process(target=serve, args=(name, files, far), daemon=True)
        self.process.start()
        self._port = self._pipe.recv()
        # One context for each server: a session belongs to the context that made it.
        self._context = client_context(
            trust=files.trust, chain=files.chain("client"), key=files.key("client")
        )
        self._session = self._connect(None)

    def _connect(self, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._context.wrap_socket(
            connection, server_hostname="server", session=session
        ) as stream:
            if stream.recv(1) != b"!" or stream.session_reused != (session is not None):
                raise RuntimeError("that is not the handshake that was to be measured")
            made = stream.session
            # Both ends say that they end: a reset would cost the servers an error each.
            stream.unwrap().close()
        return made

    def _cpu_s(self) -> float:
        self._pipe.send("how much?")
        seconds: float = self._pipe.recv()
        return seconds

    def measure(self, *, resumed: bool) -> float:
        """Microseconds of the server's processor for each of some connections."""
        before = self._cpu_s()
        for _ in range(HANDSHAKES):
            self._connect(self._session if resumed else None)
        return (self._cpu_s() - before) / HANDSHAKES * 1e6

    def stop(self) -> None:
        self._pipe.send("stop")
        self.process.join(10)


@contextmanager
def servers(files: Files) -> Iterator[dict[str, Server]]:
    """All of them, running."""
    running: dict[str, Server] = {}
    try:
        for name in SERVERS:
            running[name] = Server(name, files)
        yield running
    finally:
        for each in running.values():
            each.stop()


def bench(files: Files) -> dict[str, tuple[float, float]]:
    """Medians of interleaved rounds, in microseconds: full and resumed handshakes, by server."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVERS}
    with servers(files) as running:
        for _ in range(ROUNDS):
            for name, server in running.items():
                taken[name].append((server.measure(resumed=False), server.measure(resumed=True)))
    return {
        name: (statistics.median(full), statistics.median(resumed))
        for name, rounds in taken.items()
        for full, resumed in [zip(*rounds, strict=True)]
    }


def main() -> None:
    """Prints a row for each key type and server; ratios are to ours."""
    write = sys.stdout.write
    write("key        | server                       | full, µs (ratio) | resumed, µs (ratio)\n")
    for key_type in KEY_TYPES:
        with tempfile.TemporaryDirectory() as folder:
            results = bench(make_files(Path(folder), key_type))
        our_full, our_resumed = results["ours, uvloop"]
        for name, (full, resumed) in results.items():
            write(
                f"{key_type:<10} | {name:<28} | {full:>9.0f} ({full / our_full:.2f}) "
                f"| {resumed:>12.0f} ({resumed / our_resumed:.2f})\n"
            )


if __name__ == "__main__":
    main()
