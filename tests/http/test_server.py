"""The server half of HTTP/1.1: what it answers, what it refuses, what it never waits for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from asynctls.http import Request, Response
from asynctls.http.server import Limits, serve

if TYPE_CHECKING:
    from tests.http.conftest import Answer, Plain

Served = Callable[..., AbstractAsyncContextManager[Any]]
Answered = Callable[["Answer"], AbstractAsyncContextManager[Any]]


async def echo(request: Request) -> Response:
    words = f"{request.method} {request.target} {len(request.body)}"
    return Response.text(200, words)


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


async def test_a_request_is_answered_with_length_and_date(served: Served) -> None:
    async with served(echo) as connection:
        answer = await connection.ask(LAST)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Date: " in head
    assert b"GMT" in head
    assert b"Content-Length: 12" in head
    assert body == b"GET /last 0\n"


@pytest.mark.parametrize(("size", "writes"), [(0, 1), (1, 1), (1 << 16, 1), ((1 << 16) + 1, 2)])
async def test_header_and_body_leave_together_and_a_long_body_in_pieces(
    answered: Answered, size: int, writes: int
) -> None:
    written: list[bytes] = []

    async def answer(plain: Plain) -> None:
        def noted(data: bytes) -> None:
            written.append(data)
            plain.writer.write(data)

        plain.write = noted  # type: ignore[method-assign] # as whoever sends it sees it
        await serve(plain, sized, limits=Limits(), stopping=asyncio.Event())

    async def sized(request: Request) -> Response:
        return Response(200, (), bytes(size))

    async with answered(answer) as connection:
        said = await connection.ask(LAST)
    assert said == b"".join(written)
    assert len(written) == writes


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    async with served(echo) as connection:
        post = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        answer = await connection.ask(GET + post + LAST)
    assert [answer.index(words) for words in (b"GET /a 0", b"POST /b 3", b"GET /last 0")] == sorted(
        answer.index(words) for words in (b"GET /a 0", b"POST /b 3", b"GET /last 0")
    )


async def test_a_request_that_arrives_byte_by_byte_is_understood(served: Served) -> None:
    async with served(echo) as connection:
        answer = await connection.ask(*(bytes([byte]) for byte in LAST))
    assert statuses(answer) == [200]


async def test_a_chunked_body_is_put_together(served: Served) -> None:
    async with served(echo) as connection:
        answer = await connection.ask(
            b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
    assert b"POST /c 5" in answer


async def test_head_has_the_header_of_get_and_no_body(served: Served) -> None:
    async with served(echo) as connection:
        answer = await connection.ask(b"HEAD /d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: 9" in head
    assert body == b""


@pytest.mark.parametrize(("status", "words"), [(204, b"No Content"), (304, b"Not Modified")])
async def test_what_has_no_content_has_no_length(served: Served, status: int, words: bytes) -> None:
    async def nothing(request: Request) -> Response:
        return Response(status)

    async with served(nothing) as connection:
        answer = await connection.ask(LAST)
    assert answer.startswith(b"HTTP/1.1 %d %b\r\n" % (status, words))
    assert b"Content-Length" not in answer


async def test_an_http_1_0_client_is_answered_and_the_connection_ends(served: Served) -> None:
    async with served(echo) as connection:
        answer = await connection.ask(b"GET /old HTTP/1.0\r\n\r\n")
    assert b"GET /old 0" in answer
    assert b"Connection: close" in answer


async def test_a_client_that_waits_for_100_is_told_to_go_on(served: Served) -> None:
    async with served(echo) as connection:
        connection.write(
            b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
            b"Content-Length: 2\r\nConnection: close\r\n\r\n"
        )
        assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        assert b"POST /e 2" in await connection.ask(b"ab")


async def test_a_client_that_waits_for_100_with_too_much_is_refused_at_once(
    served: Served,
) -> None:
    async with served(echo) as connection:
        answer = await connection.ask(
            b"POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n"
        )
    assert statuses(answer) == [413]


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (400, b"NONSENSE\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n"),
        (
            400,
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (400, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n"),
        (
            413,
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n"
            + b"x" * 65537,
        ),
        (431, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 16384 + b"\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 40000),
        (501, b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n"),
        (501, b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    ],
)
async def test_a_bad_request_is_named_and_the_connection_ends(
    served: Served, status: int, request_bytes: bytes
) -> None:
    async with served(echo) as connection:
        connection.write(request_bytes)
        connection.writer.write_eof()
        answer = await connection.reader.read()
    assert statuses(answer) == [status]
    assert b"Connection: close" in answer


async def test_a_header_block_at_the_limit_is_taken(served: Served) -> None:
    start = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: "
    block = start + b"x" * (16384 - len(start) - 4) + b"\r\n\r\n"
    assert len(block) == 16384
    async with served(echo) as connection:
        assert statuses(await connection.ask(block)) == [200]


async def test_a_body_at_the_limit_is_taken(served: Served) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 65536\r\n\r\n"
    async with served(echo) as connection:
        assert b"POST / 65536" in await connection.ask(head + b"x" * 65536)


async def test_a_slow_header_and_a_slow_body_are_told_408(served: Served) -> None:
    limits = Limits(header_timeout_s=0.05, body_timeout_s=0.05)
    for start in (b"GET / HT", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"):
        async with served(echo, limits=limits) as connection:
            connection.write(start)
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_ends_without_a_word(served: Served) -> None:
    async with served(echo, limits=Limits(idle_timeout_s=0.05)) as connection:
        assert await connection.ask() == b""


async def test_a_field_that_would_not_stay_on_its_line_is_not_sent(answered: Answered) -> None:
    async def split(request: Request) -> Response:
        return Response(200, (("X", "a\r\nSet-Cookie: b"),))

    async def answer(plain: Plain) -> None:
        with pytest.raises(ValueError, match="characters that are none"):
            await serve(plain, split, limits=Limits(), stopping=asyncio.Event())

    async with answered(answer) as connection:
        assert await connection.ask(GET) == b""


@pytest.mark.parametrize("connection", [b"Upgrade", b"close, Upgrade"])
async def test_a_request_for_another_protocol_is_answered_in_this_one_and_is_the_last(
    served: Served, connection: bytes
) -> None:
    fields = b"\r\nConnection: " + connection + b"\r\nUpgrade: h2c\r\n\r\n"
    async with served(echo) as asking:
        answer = await asking.ask(GET.replace(b"\r\n\r\n", fields), GET)
    assert statuses(answer) == [200]
    assert b"Connection: close\r\n" in answer


@pytest.mark.parametrize("status", [204, 304])
async def test_no_content_has_no_body_whatever_the_handler_gives(
    served: Served, status: int
) -> None:
    async def give(request: Request) -> Response:
        return Response(status, body=b"all the same")

    async with served(give) as connection:
        answer = await connection.ask(LAST)
    assert statuses(answer) == [status]
    assert answer.endswith(b"\r\n\r\n")


async def test_stopping_ends_an_idle_connection_at_once(served: Served) -> None:
    stopping = asyncio.Event()
    async with served(echo, stopping=stopping) as connection:
        connection.write(GET)
        await connection.reader.readuntil(b"GET /a 0\n")
        stopping.set()
        assert await connection.ask() == b""


async def test_stopping_lets_a_busy_connection_have_its_answer(served: Served) -> None:
    stopping = asyncio.Event()

    async def stop_first(request: Request) -> Response:
        stopping.set()
        return Response.text(200, "done")

    async with served(stop_first, stopping=stopping) as connection:
        answer = await connection.ask(GET)
    assert answer.endswith(b"done\n")
    assert b"Connection: close" in answer


async def test_a_handler_that_fails_is_500_logged_once_and_nothing_leaks(served: Served) -> None:
    async def fail(request: Request) -> Response:
        raise RuntimeError("secret detail")

    with structlog.testing.capture_logs() as events:
        async with served(fail) as connection:
            answer = await connection.ask(GET + LAST)
    assert statuses(answer) == [500, 500]
    assert b"secret" not in answer
    assert [event["event"] for event in events] == ["request failed", "request failed"]
    assert all(event["exc_info"] for event in events)


async def test_a_handler_that_hangs_is_503(served: Served) -> None:
    async def hang(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(hang, limits=Limits(handler_timeout_s=0.05)) as connection:
        answer = await connection.ask(LAST)
        assert statuses(answer) == [503]
        assert b"\r\nRetry-After: 5\r\n" in answer


async def test_a_client_that_does_not_read_is_cut_off(served: Served) -> None:
    length = 32 * 1024 * 1024

    async def much(request: Request) -> Response:
        return Response(200, (), bytes(length))

    async with served(much, limits=Limits(write_timeout_s=0.1)) as connection:
        connection.write(GET)
        await connection.drain()
        await connection.ended.wait()
        assert len(await connection.reader.read()) < length


@pytest.mark.parametrize(
    "size", [b"10001", b"ffffffffffffffffffff", b"8000\r\n" + b"x" * 32768 + b"\r\n8001"]
)
async def test_a_chunk_that_announces_too_much_is_refused_before_it_comes(
    served: Served, size: bytes
) -> None:
    async with served(echo) as connection:
        connection.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
        )
        head = await connection.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")


async def test_chunks_and_what_is_pipelined_behind_them_are_told_apart(served: Served) -> None:
    post = (
        b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;name=value\r\na\r\n\r\n2\r\nde\r\n0\r\nTrailer: fffff\r\n\r\n"
    )
    for pieces in ((post + post + LAST,), tuple(bytes([each]) for each in post + post + LAST)):
        async with served(echo) as connection:
            answer = await connection.ask(*pieces)
        assert statuses(answer) == [200, 200, 200]
        assert answer.count(b"POST /c 5") == 2


async def test_a_slow_body_in_chunks_is_told_408(served: Served) -> None:
    async with served(echo, limits=Limits(body_timeout_s=0.05)) as connection:
        connection.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na")
        head = await connection.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_goes_away_in_the_middle_is_no_error(served: Served) -> None:
    with structlog.testing.capture_logs() as events:
        async with served(echo) as connection:
            connection.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")
            await connection.drain()
            connection.writer.transport.abort()
    assert events == []
