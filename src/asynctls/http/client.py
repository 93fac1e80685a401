"""The client half of HTTP/1.1 (RFC 9112): one request out, one bounded response back."""

from __future__ import annotations

import asyncio

import h11
import msgspec

from asynctls.errors import HTTPError
from asynctls.http.messages import Request, Response, Stream

__all__ = ["FetchLimits", "fetch"]

_READ_BYTES = 16 * 1024


class FetchLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer may cost; sizes in bytes, the time in seconds for the whole exchange."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 256 * 1024
    timeout_s: float = 10.0


async def fetch(stream: Stream, request: Request, *, limits: FetchLimits) -> Response:
    """Sends ``request`` and reads its response; the stream can carry the next one afterwards.

    Args:
        stream: The connection.
        request: What to ask; it must carry a Host header (RFC 9112, section 3.2).
        limits: How large and how late the answer may be.

    Raises:
        HTTPError: The answer is no HTTP, too large, or late.
        TruncatedError: The connection ended without the end being said.
        OSError: The connection broke.
    """
    machine = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.header_bytes)
    timeout = asyncio.timeout(limits.timeout_s)
    try:
        async with timeout:
            _send(machine, stream, request)
            await stream.drain()
            return await _receive(machine, stream, limits)
    except h11.RemoteProtocolError as error:
        raise HTTPError(f"the answer is not good HTTP: {error}", status=502) from error
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise HTTPError(
            f"no whole answer within {limits.timeout_s:g} seconds", status=504
        ) from error


def _send(machine: h11.Connection, stream: Stream, request: Request) -> None:
    headers = list(request.headers)
    if request.body:
        headers.append(("Content-Length", str(len(request.body))))
    head = h11.Request(method=request.method, target=request.target, headers=headers)
    parts = [machine.send(head)]
    if request.body:
        parts.append(machine.send(h11.Data(data=request.body)))
    parts.append(machine.send(h11.EndOfMessage()))
    stream.write(b"".join(parts))


async def _receive(machine: h11.Connection, stream: Stream, limits: FetchLimits) -> Response:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = machine.next_event()
        if isinstance(event, h11.Response):
            head = event
            declared = next((int(v) for k, v in head.headers if k == b"content-length"), 0)
            if declared > limits.body_bytes:
                raise _too_large(limits)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > limits.body_bytes:
                raise _too_large(limits)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in head.headers)
            return Response(head.status_code, headers, bytes(body))
        elif event is h11.NEED_DATA:
            received = await stream.read(_READ_BYTES)
            if not received and head is None:
                raise HTTPError("the connection ended before an answer", status=502)
            machine.receive_data(received)


def _too_large(limits: FetchLimits) -> HTTPError:
    return HTTPError(f"the answer has more than {limits.body_bytes} bytes", status=502)
