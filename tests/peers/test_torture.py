"""Whoever means the TTP harm gets the right status, alert or close; and it goes on serving."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from asynctls.http import server
from asynctls.http.server import Limits
from asynctls.pki.certificates import to_pem
from asynctls.tls import stream
from asynctls.ttp import service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from tests.conftest import TTP, LogWatch

TIMEOUT_S = 15.0
IMPATIENT = Limits(
    header_timeout_s=0.3, body_timeout_s=0.3, idle_timeout_s=0.3, write_timeout_s=0.3
)
GET = b"GET /healthz HTTP/1.1\r\nHost: ttp\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nHost: ttp\r\nConnection: close\r\n\r\n"
ENROL = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: ttp\r\n"


@pytest.fixture(autouse=True)
def linger_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error the TTP waits for the client to hang up, which this one never does."""
    monkeypatch.setattr(server, "_LINGER_S", 0.2)


class Client:
    """A TLS connection to the TTP, for bytes of any kind."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, *pieces: bytes) -> bytes:
        """Sends, a record each, and gives all that comes until the TTP closes."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.read()


@asynccontextmanager
async def connected(ttp: TTP) -> AsyncIterator[Client]:
    context = ssl.create_default_context(cadata=to_pem(ttp.authority.root))
    reader, writer = await asyncio.open_connection(
        ttp.address.host, ttp.address.port, ssl=context, server_hostname=ttp.address.host
    )
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answer)]


async def goes_on(ttp: TTP) -> None:
    async with connected(ttp) as client:
        assert statuses(await client.ask(LAST)) == [200]


# What is allowed


async def test_pipelined_requests_are_answered_in_order(ttp: TTP) -> None:
    async with connected(ttp) as client:
        paths = (b"/healthz", b"/nothing", b"/crl", b"/.well-known/est/csrattrs", b"/healthz")
        many = b"".join(GET.replace(b"/healthz", path) for path in paths * 40)
        answer = await client.ask(many + LAST)
    assert statuses(answer) == [200, 404, 200, 204, 200] * 40 + [200]


async def test_a_chunked_request_is_as_good(ttp: TTP) -> None:
    async with connected(ttp) as client:
        head = ENROL + b"Transfer-Encoding: chunked\r\nContent-Type: application/pkcs10\r\n"
        answer = await client.ask(
            head + b"Authorization: Basic bm9ib2R5Ondyb25n\r\n\r\n",
            *(b"4;extension=1\r\nAAAA\r\n",) * 10,
            b"0\r\nTrailer: x\r\n\r\n",
            LAST,
        )
    assert statuses(answer) == [401, 200]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz?x=1 HTTP/1.1\r\nHost: ttp\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: ttp\r\nUpgrade: h2c\r\nConnection: close, Upgrade\r\n\r\n",
        # RFC 9112, section 3.2.2: a server must take the absolute form.
        b"GET https://ttp/healthz HTTP/1.1\r\nHost: ttp\r\nConnection: close\r\n\r\n",
        b"GET http://ttp:80/healthz?x=/y HTTP/1.1\r\nHost: ttp:80\r\nConnection: close\r\n\r\n",
        # RFC 9112, section 2.2: a bare LF may end a line.
        b"GET /healthz HTTP/1.1\nHost: ttp\nConnection: close\n\n",
    ],
)
async def test_what_is_odd_and_allowed_is_served(ttp: TTP, request_bytes: bytes) -> None:
    async with connected(ttp) as client:
        assert statuses(await client.ask(request_bytes)) == [200]


# What is not


def with_header(line: bytes) -> bytes:
    return b"GET /healthz HTTP/1.1\r\nHost: ttp\r\n" + line + b"\r\n\r\n"


def with_body(headers: bytes, body: bytes) -> bytes:
    return ENROL + headers + b"\r\n\r\n" + body


BROKEN = [
    (400, b"GET /healthz\r\n\r\n"),
    # RFC 9112, section 2.2, would rather have the empty line ignored (SHOULD); h11 does not.
    (400, b"\r\nGET /healthz HTTP/1.1\r\nHost: ttp\r\n\r\n"),
    (400, b"\x00\x01\x02\xff\xfe\r\n\r\n"),
    (400, b"GET  /healthz  HTTP/1.1\r\nHost: ttp\r\n\r\n"),
    (400, b"GET /healthz HTTP/1.1\r\n\r\n"),
    (400, b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (400, with_header(b"No colon here")),
    (400, with_header(b"Space : before")),
    (400, with_header(b"Nul: a\x00b")),
    (400, with_header(b"Bare: a\rb")),
    (400, b"GET /healthz\x00 HTTP/1.1\r\nHost: ttp\r\n\r\n"),
    (400, "GET /héalthz HTTP/1.1\r\nHost: ttp\r\n\r\n".encode()),
    (505, b"GET /healthz HTTP/2.0\r\nHost: ttp\r\n\r\n"),
    (505, b"GET /healthz HTTP/0.9\r\nHost: ttp\r\n\r\n"),
    (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (501, b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: ttp\r\n\r\n"),
    (501, b"BREW /pot HTTP/1.1\r\nHost: ttp\r\n\r\n"),
    (431, with_header(b"Bomb: " + b"x" * 17 * 1024)),
    (431, with_header(b"\r\n".join([b"Many: x"] * 4000))),
    (431, b"GET /" + b"x" * 17 * 1024 + b" HTTP/1.1\r\nHost: ttp\r\n\r\n"),
    (431, b"x" * 200 * 1024),
    (400, with_body(b"Content-Length: -1", b"")),
    (400, with_body(b"Content-Length: +4", b"AAAA")),
    (400, with_body(b"Content-Length: 0x4", b"AAAA")),
    (400, with_body(b"Content-Length: 4, 5", b"AAAAA")),
    (400, with_body(b"Content-Length: 4\r\nContent-Length: 5", b"AAAAA")),
    (400, with_body("Content-Length: \uff14".encode(), b"AAAA")),
    (400, with_body(b"Content-Length: " + b"9" * 5000, b"")),
    (413, with_body(b"Content-Length: 65537", b"")),
    (413, with_body(b"Content-Length: 99999999999999999999", b"")),
    (400, with_body(b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\n")),
    (501, with_body(b"Transfer-Encoding: gzip", b"AAAA")),
    (501, with_body(b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n")),
    (400, with_body(b"Transfer-Encoding: chunked", b"zz\r\nAAAA\r\n")),
    (400, with_body(b"Transfer-Encoding: chunked", b"-1\r\nAAAA\r\n")),
    (400, with_body(b"Transfer-Encoding: chunked", b"4\r\nAAAAAAAA\r\n")),
    (413, with_body(b"Transfer-Encoding: chunked", b"20000\r\n" + b"A" * 0x20000)),
]


@pytest.mark.parametrize(("status", "request_bytes"), BROKEN)
async def test_a_broken_request_has_its_status_and_ends_the_connection(
    ttp: TTP, logged: LogWatch, status: int, request_bytes: bytes
) -> None:
    async with connected(ttp) as client:
        # What follows a broken request may be part of it: it is never answered.
        answer = await client.ask(request_bytes + GET)
    assert statuses(answer) == [status]
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Traceback" not in answer
    assert not [event for event in logged.events if "exc_info" in event]
    await goes_on(ttp)


@pytest.mark.parametrize("request_bytes", [b"NONSENSE\r\n\r\n", with_header(b"NONSENSE")])
async def test_a_broken_request_is_not_quoted_and_nothing_says_what_runs_here(
    ttp: TTP, request_bytes: bytes
) -> None:
    async with connected(ttp) as client:
        answer = await client.ask(request_bytes)
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert "server:" not in head.lower()
    assert re.fullmatch(r"illegal (request|header) line\n", body)


# Who is slow


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, ttp: TTP) -> TTP:
    """The TTP, with a fraction of a second where it has ten and more."""
    monkeypatch.setattr(service, "_LIMITS", IMPATIENT)
    config = msgspec.structs.replace(
        ttp.service._config, handshake_timeout=timedelta(milliseconds=300)
    )
    monkeypatch.setattr(ttp.service, "_config", config)
    return ttp


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", []),
        (b"GET /hea", [408]),
        (GET, [200]),
        (GET + b"GET /hea", [200, 408]),
        (ENROL + b"Content-Length: 10\r\n\r\nAAAA", [408]),
        (ENROL + b"Transfer-Encoding: chunked\r\n\r\n4\r\nAAAA\r\n", [408]),
    ],
)
async def test_whoever_stops_in_the_middle_is_not_waited_for(
    impatient: TTP, sent: bytes, answered: list[int]
) -> None:
    async with connected(impatient) as client:
        assert statuses(await client.ask(sent)) == answered


async def test_a_trickle_does_not_hold_the_connection(impatient: TTP) -> None:
    """A byte now and then is no excuse: the header as a whole has its time."""
    async with connected(impatient) as client:
        answer = asyncio.create_task(client.ask())
        client.writer.write(b"GET /healthz HTTP/1.1\r\nSlow: ")
        while not answer.done():
            client.writer.write(b"x")
            await asyncio.wait({answer}, timeout=0.05)
        assert statuses(answer.result()) == [408]


async def test_whoever_does_not_read_its_answers_is_cut_off(
    impatient: TTP, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_and_never_read() -> None:
        context = ssl.create_default_context(cadata=to_pem(impatient.authority.root))
        host, port = impatient.address.host, impatient.address.port
        with socket.socket() as tcp:
            tcp.settimeout(3 * TIMEOUT_S)  # thousands are answered before the buffers are full
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            tcp.connect((host, port))
            with context.wrap_socket(tcp, server_hostname=host) as tls:
                while True:
                    tls.sendall(many)

    many = GET.replace(b"/healthz", b"/.well-known/est/cacerts") * 1000
    monkeypatch.setattr(stream, "CLOSE_TIMEOUT_S", 0.3)
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await asyncio.to_thread(ask_and_never_read)
    await goes_on(impatient)


async def test_many_who_say_nothing_keep_nobody_out(ttp: TTP) -> None:
    host, port = ttp.address.host, ttp.address.port
    silent = [await asyncio.open_connection(host, port) for _ in range(200)]
    try:
        await goes_on(ttp)
    finally:
        for _, writer in silent:
            writer.transport.abort()


# What is no TLS, or breaks off


def record(content: bytes, *, kind: int = 22, version: bytes = b"\x03\x01") -> bytes:
    """A TLS record (RFC 5246, section 6.2.1)."""
    return bytes([kind]) + version + len(content).to_bytes(2, "big") + content


def first_flight() -> bytes:
    """A genuine ClientHello, in its record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out).do_handshake()
    return out.read()


async def failure(logged: LogWatch) -> MutableMapping[str, Any]:
    """The event of a handshake that failed, in whichever way."""
    names = ("refused", "refused by peer", "handshake failed")
    waiting = {asyncio.create_task(logged.until(name)) for name in names}
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
    (event,) = logged.named(*names)
    return event


HELLO = first_flight()
# Alerts of RFC 5246, section 7.2: what OpenSSL says to each, None where it says nothing.
GARBAGE = {
    "plain HTTP": LAST,
    "a banner": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(4096),
    "noise": bytes(range(256)) * 64,
    "an SSL 2.0 hello": bytes.fromhex(
        "802e0100020015000000100100800200800300800400800500800600400700c0"
    )
    + bytes(32),
    "an empty record": record(b""),
    "many empty records": record(b"") * 1000,
    "a record too long": b"\x16\x03\x01\xff\xff" + bytes(70_000),
    "a hello of 16 MiB": record(b"\x01\xff\xff\xff" + bytes(16_000)) * 8,
    "a hello twice": HELLO + HELLO,
    "a hello with its lengths wrong": HELLO[:60] + bytes([HELLO[60] ^ 0xFF]) + HELLO[61:],
    "a server's hello": record(b"\x02" + HELLO[6:]),
    "data before the handshake": record(LAST, kind=23),
    "an alert": record(b"\x02\x28", kind=21),
    "warnings without end": record(b"\x01\x5a", kind=21) * 1000,
    "a heartbeat": HELLO + record(b"\x01\x40\x00", kind=24, version=b"\x03\x03"),
    "a Finished at once": HELLO + record(b"\x01", kind=20) + record(bytes(40)),
}


@pytest.mark.parametrize("sent", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_is_no_handshake_ends_by_an_alert_or_a_close(
    impatient: TTP, logged: LogWatch, sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection(impatient.address.host, impatient.address.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(TIMEOUT_S):
            answer = await reader.read()
    finally:
        writer.transport.abort()
    assert b"HTTP/" not in answer
    event = await failure(logged)
    assert event["address"].startswith("127.0.0.1:")
    assert event["reason"]
    assert not [event for event in logged.events if "exc_info" in event]
    await goes_on(impatient)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
async def test_a_handshake_that_breaks_off_is_one_line_in_the_log(
    ttp: TTP, logged: LogWatch, share: float
) -> None:
    reader, writer = await asyncio.open_connection(ttp.address.host, ttp.address.port)
    writer.write(HELLO[: int(len(HELLO) * share)])
    writer.write_eof()
    async with asyncio.timeout(TIMEOUT_S):
        await reader.read()
    writer.transport.abort()
    event = await logged.until("handshake failed")
    assert "closed the connection during the handshake" in event["reason"]
    await goes_on(ttp)
