"""HTTP answers (`http.client`) and what EST's client makes of them (`enrolment.est_client`)."""

from __future__ import annotations

from typing import Final

from asynctls.enrolment.est_client import _issued
from asynctls.errors import EnrolmentError, EnrolmentPendingError, HTTPError, TruncatedError
from asynctls.http import FetchLimits, Request, Response, fetch
from tests.fuzz.memory_stream import MemoryStream
from tests.fuzz.scratch import completed
from tests.fuzz.targets import est_bodies

_CUTS: Final = 4
_LIMITS: Final = FetchLimits(header_bytes=1024, body_bytes=2048)
_REQUEST: Final = Request("GET", "/.well-known/est/cacerts", (("Host", "ttp"),))


def run(data: bytes) -> bool:
    """Four bytes that say how it is cut, and what a server sends until its end."""
    how, sent = data[:_CUTS], data[_CUTS:]
    whole = _fetched(sent, b"")
    assert whole == _fetched(sent, how), "its cutting up changed the answer"
    if whole is None:
        return False
    assert len(whole.body) <= _LIMITS.body_bytes
    try:
        _issued(whole)
    except EnrolmentError as error:
        assert str(error).isprintable(), "a terminal would be written to"
        if isinstance(error, EnrolmentPendingError):
            assert 1 <= error.retry_after_s <= 3600
    return True


def _fetched(sent: bytes, how: bytes) -> Response | None:
    try:
        return completed(fetch(MemoryStream(sent, how), _REQUEST, limits=_LIMITS))
    except HTTPError as error:
        assert str(error)
    except TruncatedError:
        pass
    return None


def seeds() -> dict[str, bytes]:
    """What a TTP answers, and what it should not."""
    body = est_bodies.seeds()["one"]
    length = f"Content-Length: {len(body)}\r\n\r\n".encode()
    made = {
        "issued": b"HTTP/1.1 200 OK\r\nContent-Type: application/pkcs7-mime\r\n" + length + body,
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "pending": b"HTTP/1.1 202 Accepted\r\nRetry-After: 60\r\nContent-Length: 22\r\n\r\n"
        b"approval-pending: wait",
        "refused": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nused: \x1b[31mit",
        "hint": b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "no-length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        "no-end": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "no-http": b"\x15\x03\x03\x00\x02\x02\x28",
        "no-answer": b"",
    }
    return {name: b"\x01\x10\x02\x40" + sent for name, sent in made.items()}
