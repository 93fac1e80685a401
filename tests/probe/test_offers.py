"""What a server answered to a hand-made hello, whatever it is that it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynctls.probe import offers
from asynctls.probe.hellos import SSL_3_0, TLS_1_2, Hello, client_hello
from asynctls.probe.offers import offer
from asynctls.probe.relays import listening
from asynctls.probe.suites import STRONG

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractAsyncContextManager

    from asynctls.config import Address

HELLO = client_hello(TLS_1_2, STRONG).record()
SERVER_HELLO = Hello(2, TLS_1_2, bytes(32), b"", [0xC02B], b"\1", {}, b"").record()
WARNING, FATAL = b"\x15\3\3\0\2\1\x70", b"\x15\3\3\0\2\2\x28"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many others this machine is busy with."""
    monkeypatch.setattr(offers, "PATIENCE_S", 50.0)


def answering(answer: bytes, *, stays: bool = False) -> AbstractAsyncContextManager[Address]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(HELLO))
        writer.write(answer)
        if stays:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    return listening(serve)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection"),
        (FATAL, "refused: handshake failure (alert 40)"),
        (WARNING, "closed the connection"),
        (b"\x15\3\3\0\2\2\xff", "refused: unknown (alert 255)"),
        (SERVER_HELLO[:20], "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered with something that is not TLS"),
    ],
)
async def test_what_is_no_hello_is_a_refusal(answer: bytes, words: str) -> None:
    async with answering(answer) as address:
        answered = await offer(address, HELLO)
    assert (answered.hello, answered.words) == (None, words)


@pytest.mark.parametrize("before", [b"", WARNING])
async def test_a_server_hello_is_what_it_agrees_to(before: bytes) -> None:
    async with answering(before + SERVER_HELLO) as address:
        answered = await offer(address, HELLO)
    assert answered.hello is not None
    assert answered.words == (
        "agreed: TLS 1.2, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, compression method 1"
    )


async def test_silence_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PATIENCE_S", 0.5)
    async with answering(b"", stays=True) as address:
        answered = await offer(address, HELLO)
    assert (answered.hello, answered.words) == (None, "said nothing within 0.5 s")


def test_a_hello_made_by_hand_is_read_as_it_was_made() -> None:
    made = client_hello(TLS_1_2, STRONG, server_name="server", alpn="asynctls/1")
    assert Hello.read(made.record()) == made
    old = client_hello(SSL_3_0, STRONG)
    assert old.extensions == {}
    assert Hello.read(old.record()) == old
