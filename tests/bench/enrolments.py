"""The load of enrolments: connections that stay, and requests that were made beforehand.

    python -m tests.bench.enrolments

One thread, and of an answer no more is read than where it ends: so it costs less than the TTP. Each
request is a token and a CSR of its own (`prepared`), sent as our roles send it, and for a key of
the kind that they make unless told otherwise; a few keys, since to make one takes 50 ms.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import selectors
import socket
import ssl
import time
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from asynctls.enrolment import est_codec
from asynctls.pki.keys import KeyType, generate_now
from asynctls.pki.profiles import Profile
from asynctls.pki.requests import build_request
from tests.bench.jobs import work_off

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynctls.pki.keys import PrivateKey
    from asynctls.ttp.administration import Administration

__all__ = ["prepared"]

_HOUR = timedelta(hours=1)
_AT_ONCE = 64


async def prepared(authority: Administration, count: int, file: Path) -> None:
    """Writes so many requests into a file, each as it goes over the wire, in hex on a line."""
    keys = itertools.cycle(await asyncio.to_thread(_keys))
    made: list[str] = []

    async def some(first: int) -> None:
        for number in range(first, count, _AT_ONCE):
            name = f"host{number}.example.org"
            token_id, secret = await authority.create_token(
                name, profile=Profile.PEER, ttl=_HOUR, lifetime=24 * _HOUR
            )
            credential = base64.b64encode(f"{token_id}:".encode() + secret.reveal()).decode()
            body = est_codec.encode(await asyncio.to_thread(build_request, next(keys)))
            head = (
                f"POST {est_codec.SIMPLE_ENROLL} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Content-Type: {est_codec.REQUEST_TYPE}\r\nContent-Transfer-Encoding: base64\r\n"
                f"Authorization: Basic {credential}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            made.append((head.encode() + body).hex())

    await asyncio.gather(*(some(first) for first in range(_AT_ONCE)))
    await asyncio.to_thread(file.write_text, "\n".join(made))


@cache
def _keys() -> list[PrivateKey]:
    return [generate_now(KeyType.RSA_2048) for _ in range(16)]


class Load:
    """Clients that enrol, each again as soon as it has its certificate."""

    def enrol(self, *, ports: list[int], clients: int, requests: str) -> dict[str, float]:
        """Sends all that a file of `prepared` has; the seconds, and the 99th percentile of them."""
        waiting = iter([bytes.fromhex(line) for line in Path(requests).read_text().split()])
        spent: list[float] = []
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            streams = [
                stack.enter_context(_connected(ports[number % len(ports)]))
                for number in range(clients)
            ]
            began = time.perf_counter()
            for stream in streams:
                client = _enrolments(stream, waiting, spent)
                if next(client, None):
                    selector.register(stream, selectors.EVENT_READ, client)
            while selector.get_map():
                for key, _ in selector.select():
                    if not next(key.data, None):
                        selector.unregister(key.fileobj)
            seconds = time.perf_counter() - began
        return {
            "count": len(spent),
            "seconds": seconds,
            "p99_s": sorted(spent)[len(spent) * 99 // 100],
        }


def _connected(port: int) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(connection)


def _enrolments(
    stream: ssl.SSLSocket, waiting: Iterator[bytes], spent: list[float]
) -> Iterator[bool]:
    """One client: goes on whenever there is something to read, and ends when nothing waits."""
    for request in waiting:
        began = time.perf_counter()
        stream.sendall(request)
        answer = b""
        while not _is_whole(answer):
            yield True
            received = stream.recv(1 << 14)
            if not received:
                raise RuntimeError("the TTP ended the connection")
            answer += received
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"refused: {answer!r}")
        spent.append(time.perf_counter() - began)


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    return len(body) >= int(length)


if __name__ == "__main__":
    work_off(Load())
