"""The server half of HTTP/1.1 (RFC 9112): requests in order out of a stream, answers into it.

Every limit is checked before the bytes are taken, every wait is bounded, and after an error the
connection ends, since what follows on it can no longer be told apart from the broken request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from http import HTTPStatus

import h11
import msgspec

from asynctls.errors import HTTPError, TruncatedError
from asynctls.http.chunks import ChunkSizes
from asynctls.http.messages import Request, Response, Stream
from asynctls.logger import get_logger

__all__ = ["Handler", "Limits", "serve"]

log = get_logger()

Handler = Callable[[Request], Awaitable[Response]]
"""Answers one request; what it raises is logged and answered by 500."""

_READ_BYTES = 16 * 1024
_WRITE_BYTES = 64 * 1024
_LINGER_BYTES = 256 * 1024
_LINGER_S = 2.0
_RETRY_S = "5"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"})
_VERSIONS = frozenset({b"1.0", b"1.1"})
_BARE = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CLOSE = ("Connection", "close")
_CONTINUE = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may cost; sizes in bytes, times in seconds."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 20.0
    idle_timeout_s: float = 30.0
    handler_timeout_s: float = 30.0
    write_timeout_s: float = 10.0


async def serve(
    stream: Stream, handler: Handler, *, limits: Limits, stopping: asyncio.Event
) -> None:
    """Serves requests until the client is done, breaks a rule, or stays away too long.

    The stream is the caller's to close. A client that just goes away is no error.

    Args:
        stream: The connection.
        handler: Answers each request, one at a time and in order, so that pipelining holds.
        limits: Sizes and time-outs.
        stopping: Once set, an idle connection ends and a busy one ends after its answer.
    """
    await _Exchanges(stream, handler, limits, stopping).run()


class _Exchanges:
    def __init__(
        self, stream: Stream, handler: Handler, limits: Limits, stopping: asyncio.Event
    ) -> None:
        self._stream = stream
        self._handler = handler
        self._limits = limits
        self._stopping = stopping
        self._machine = self._new_machine()
        self._head_only = False
        self._idle: asyncio.Timeout | None = None

    async def run(self) -> None:
        # One for the connection: a task for each request would cost as much as reading it.
        stopping = asyncio.ensure_future(self._stop_idling())
        try:
            while await self._exchange():
                behind, _ = self._machine.trailing_data
                self._machine = self._new_machine()
                if behind:
                    self._machine.receive_data(behind)
        except (TruncatedError, OSError):
            # OSError has ConnectionError and, from a client too slow to take its answer,
            # TimeoutError: there is nobody left to tell.
            return
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    def _new_machine(self) -> h11.Connection:
        """What reads one request. h11 judges what comes; what we send is ours, and simple."""
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)

    async def _exchange(self) -> bool:
        """One request and its answer; says whether another may follow."""
        self._head_only = False
        try:
            request = await self._receive()
        except HTTPError as error:
            await self._refuse(error.status, str(error))
            return False
        except h11.RemoteProtocolError as error:
            # h11 quotes the line that it does not understand, as Python writes it: not for clients.
            await self._refuse(error.error_status_hint, str(error).partition(": bytearray(")[0])
            return False
        if request is None:
            return False
        response = await self._answer(request)
        # Who asked for another protocol as well (RFC 9110, section 7.8) gets an answer in this one,
        # and no more: h11 would wait to be told what was decided.
        ends = self._machine.their_state is not h11.DONE or self._stopping.is_set()
        if response.header("Connection") is not None:
            ends = True
        elif ends:
            response = Response(response.status, (*response.headers, _CLOSE), response.body)
        await self._send(response)
        return not ends

    async def _receive(self) -> Request | None:
        head = await self._receive_head()
        if head is None:
            return None
        method = head.method.decode("ascii")
        self._head_only = method == "HEAD"
        if head.http_version not in _VERSIONS:
            raise HTTPError("only HTTP/1.0 and HTTP/1.1 are spoken here", status=505)
        if method not in _METHODS:
            raise HTTPError("this method is not known here", status=501)
        fields = [*head.headers]
        lengths = dict(fields)
        if b"content-length" in lengths and b"transfer-encoding" in lengths:
            # Two lengths for one body are how requests are smuggled (RFC 9112, section 11.2).
            raise HTTPError("Content-Length and Transfer-Encoding exclude each other", status=400)
        declared = int(lengths.get(b"content-length", 0))
        chunks = ChunkSizes() if b"transfer-encoding" in lengths else None
        body = await self._receive_body(declared, chunks)
        headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in fields)
        return Request(
            "GET" if self._head_only else method, head.target.decode("ascii"), headers, body
        )

    async def _receive_head(self) -> h11.Request | None:
        waiting, _ = self._machine.trailing_data
        if not waiting:
            first = await self._first_bytes()
            if not first:
                return None
            self._machine.receive_data(first)
        return await self._next_head()

    async def _first_bytes(self) -> bytes:
        """What an idle client sends next; empty when it, or this server, has had enough."""
        if self._stopping.is_set():
            return b""
        try:
            async with asyncio.timeout(self._limits.idle_timeout_s) as self._idle:
                return await self._stream.read(_READ_BYTES)
        except TimeoutError:
            return b""
        finally:
            self._idle = None

    async def _stop_idling(self) -> None:
        """Ends the wait for the next request once this server is to stop."""
        await self._stopping.wait()
        if self._idle is not None and not self._idle.expired():
            self._idle.reschedule(asyncio.get_running_loop().time())

    async def _next_head(self) -> h11.Request | None:
        late = self._late(self._limits.header_timeout_s)
        while True:
            event = self._machine.next_event()
            if isinstance(event, h11.Request):
                return event
            if isinstance(event, h11.ConnectionClosed):
                return None
            waiting, _ = self._machine.trailing_data
            # Never more than one byte past the limit, so that h11, which judges only blocks that
            # are incomplete, sees every one that is too long.
            room = max(self._limits.header_bytes + 1 - len(waiting), 1)
            self._machine.receive_data(
                await self._more(min(room, _READ_BYTES), late, "the request's header took too long")
            )

    async def _receive_body(self, declared: int, chunks: ChunkSizes | None) -> bytes:
        largest = self._limits.body_bytes
        too_large = HTTPError(f"a body may have {largest} bytes at most", status=413)
        if declared > largest:
            raise too_large
        late = self._late(self._limits.body_timeout_s)
        body = bytearray()
        received, _ = self._machine.trailing_data
        while True:
            if chunks is not None:
                chunks.feed(received)
                received = b""
                if chunks.declared > largest:
                    raise too_large
            event = self._machine.next_event()
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > largest:
                    raise too_large
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)
            elif event is h11.NEED_DATA:
                if self._machine.they_are_waiting_for_100_continue:
                    await self._write(self._machine.send(_CONTINUE))
                received = await self._more(_READ_BYTES, late, "the body took too long")
                self._machine.receive_data(received)
            else:
                raise HTTPError("the request ended before its body", status=400)

    async def _answer(self, request: Request) -> Response:
        timeout = asyncio.timeout(self._limits.handler_timeout_s)
        try:
            async with timeout:
                return await self._handler(request)
        except Exception:
            # The border: one request's fault never ends the service, and never shows outside.
            log.exception("request failed", method=request.method, path=request.path)
            if timeout.expired():
                return Response.text(503, "busy: try again", headers=(("Retry-After", _RETRY_S),))
            return Response.text(500, "internal error: the server's log has it")

    async def _refuse(self, status: int, words: str) -> None:
        await self._send(Response.text(status, words, headers=(_CLOSE,)))
        # Closing with unread bytes sends RST, which can overtake the answer: read them off first.
        discarded = 0
        try:
            async with asyncio.timeout(_LINGER_S):
                while discarded < _LINGER_BYTES:
                    chunk = await self._stream.read(_READ_BYTES)
                    if not chunk:
                        break
                    discarded += len(chunk)
        except TimeoutError:
            return

    async def _send(self, response: Response) -> None:
        bare = self._head_only or response.status in _BARE
        body = b"" if bare else response.body
        # Header and body leave together: as one record, by one write, where the body is short.
        await self._write(_head(response) + body[:_WRITE_BYTES])
        for start in range(_WRITE_BYTES, len(body), _WRITE_BYTES):
            await self._write(body[start : start + _WRITE_BYTES])

    async def _write(self, content: bytes) -> None:
        self._stream.write(content)
        try:
            async with asyncio.timeout(self._limits.write_timeout_s):
                await self._stream.drain()
        except TimeoutError:
            # What it does not read it must not cost us memory for any longer either.
            self._stream.abort()
            raise

    @staticmethod
    def _late(timeout_s: float) -> float:
        return asyncio.get_running_loop().time() + timeout_s

    async def _more(self, most: int, late: float, words: str) -> bytes:
        """Waits for more of a request, until it is too late for that by the loop's clock."""
        try:
            async with asyncio.timeout_at(late):
                return await self._stream.read(most)
        except TimeoutError as error:
            raise HTTPError(words, status=408) from error


def _head(response: Response) -> bytes:
    """Status line and header (RFC 9112, sections 4 and 5), a body's length included.

    Raises:
        ValueError: a field would not stay on its line.
    """
    lines = [
        _status_line(response.status),
        f"Date: {_date(int(time.time()))}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    if response.status not in _BARE:
        lines.append(f"Content-Length: {len(response.body)}")
    if not all(map(str.isprintable, lines)):
        raise ValueError("a header field with characters that are none")
    return "\r\n".join((*lines, "", "")).encode("latin-1")


@lru_cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """A Date (RFC 9110, section 6.6.1), which is the same for all answers of a second."""
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)
