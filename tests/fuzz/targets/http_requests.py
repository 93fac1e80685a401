"""HTTP requests (`http.server`): each is answered in good HTTP, within the limits, or refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import h11

from asynctls.http import Request, Response
from asynctls.http.server import Limits, serve
from tests.fuzz.memory_stream import MemoryStream
from tests.fuzz.scratch import completed

if TYPE_CHECKING:
    from collections.abc import Iterator

_CUTS: Final = 4
_POST: Final = b"POST / HTTP/1.1\r\nHost: a\r\n"
_LIMITS: Final = Limits(body_bytes=2048)


def run(data: bytes) -> bool:
    """Four bytes that say how it is cut, and what a client sends until its end."""
    how, sent = data[:_CUTS], data[_CUTS:]
    whole, pieces = _served(sent, b""), _served(sent, how)
    statuses = list(_statuses(whole))
    # Which of two faults is seen first hangs on how much has come, what is refused does not.
    refused = [status >= 400 for status in statuses]
    assert refused == [status >= 400 for status in _statuses(pieces)], "a cut changed an answer"
    assert len(statuses) <= 1 + sent.count(b"\n")
    assert 500 not in statuses
    return 200 in statuses


def _served(sent: bytes, how: bytes) -> bytes:
    stream = MemoryStream(sent, how)
    completed(serve(stream, _answer, limits=_LIMITS, stopping=asyncio.Event()))
    assert not stream.aborted
    return bytes(stream.written)


async def _answer(request: Request) -> Response:
    assert len(request.body) <= _LIMITS.body_bytes
    assert request.method.isupper()
    assert isinstance(request.path, str)
    for name, value in request.headers:
        assert value in (request.header(name) or "")
    return Response(200, body=request.body)


def _statuses(answer: bytes) -> Iterator[int]:
    """As another program reads them, the answer to a request each."""
    rest = answer
    while rest:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(rest)
        client.receive_data(b"")
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA
            if isinstance(event, h11.Response):
                yield event.status_code
        rest = client.trailing_data[0]


def seeds() -> dict[str, bytes]:
    """Requests by themselves and one after another, with each kind of body, and broken ones."""
    made = {
        "get": b"GET /healthz?x HTTP/1.1\r\nHost: a\r\n\r\n",
        "pipelined": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
        "post": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
        "chunked": _POST
        + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nabcde\r\n0\r\nTrailer: t\r\n\r\n",
        "expect": _POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        "old": b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab",
        "no-two-lengths": _POST
        + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "no-such-length": _POST + b"Content-Length: 99999999999\r\n\r\n",
        "no-such-chunk": _POST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        "no-end": _POST + b"Content-Length: 9\r\n\r\nabc",
        "no-method": b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
        "no-version": b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        "no-header-end": b"GET / HTTP/1.1\r\nHost: " + b"a" * 1100,
        "no-http": b"\x16\x03\x01\x00\x05hello",
    }
    return {name: b"\x01\x10\x02\x40" + sent for name, sent in made.items()}
