"""The client half of HTTP/1.1: a bounded answer or an error with words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from asynctls.errors import HTTPError
from asynctls.http import FetchLimits, Request, Response, fetch

Served = Callable[..., AbstractAsyncContextManager[Any]]
Answered = Callable[..., AbstractAsyncContextManager[Any]]

HOST = (("Host", "h"),)


async def test_several_requests_go_over_one_connection(served: Served) -> None:
    async def handler(request: Request) -> Response:
        return Response.text(201, f"{request.method} {request.path} {request.body.decode()}")

    async with served(handler) as connection:
        for _ in range(3):
            response = await fetch(
                connection, Request("POST", "/x?y", HOST, b"body"), limits=FetchLimits()
            )
            assert response.status == 201
            assert response.body == b"POST /x body\n"
            assert response.header("content-type") == "text/plain; charset=utf-8"
            assert response.header("Date")


def saying(*pieces: bytes) -> Callable[[Any], Any]:
    async def answer(plain: Any) -> None:
        await plain.reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            plain.write(piece)
            await plain.drain()

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"nonsense\r\n\r\n", "not good HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc", "not good HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", "more than 100 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, "more than 100 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40000, "not good HTTP"),
        (b"", "before an answer"),
    ],
)
async def test_a_bad_answer_is_an_error_with_words(
    answered: Answered, answer: bytes, words: str
) -> None:
    async with answered(saying(answer)) as connection:
        with pytest.raises(HTTPError, match=words):
            await fetch(connection, Request("GET", "/", HOST), limits=FetchLimits(body_bytes=100))


async def test_an_answer_that_does_not_come_is_told_so(answered: Answered) -> None:
    done = asyncio.Event()

    async def hang(plain: Any) -> None:
        await done.wait()

    async with answered(hang) as connection:
        with pytest.raises(HTTPError, match=r"no whole answer within 0\.05 seconds"):
            await fetch(connection, Request("GET", "/", HOST), limits=FetchLimits(timeout_s=0.05))
        done.set()


async def test_an_informational_answer_is_passed_over(answered: Answered) -> None:
    answer = saying(
        b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    async with answered(answer) as connection:
        response = await fetch(connection, Request("GET", "/", HOST), limits=FetchLimits())
    assert response.body == b"ok"


def test_a_request_does_not_show_its_headers_or_its_body() -> None:
    request = Request("POST", "/", (("Authorization", "Basic c2VjcmV0"),), b"secret")
    assert repr(request) == "Request(method='POST', target='/')"
