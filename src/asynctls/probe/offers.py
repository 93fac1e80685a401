"""A hand-made hello sent to a server, and what the server answered, read off its records."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.alerts import Alert
from asynctls.client.connecting import open_connection
from asynctls.probe.attack import PATIENCE_S
from asynctls.probe.suites import suite_name
from asynctls.tls.closing import hang_up
from asynctls.tls.records import Scanner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asynctls.config import Address
    from asynctls.tls.hellos import ServerHello

__all__ = ["Answer", "alert_words", "answered", "connection", "offer", "say"]

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        words: what it did, for the table.
        hello: its ServerHello: it goes on with what it chose; None: it did not.
        alert: its fatal alert, a number; None: there was none.
        closed: it closed the connection, and said neither.
    """

    words: str
    hello: ServerHello | None = None
    alert: int | None = None
    closed: bool = False


@asynccontextmanager
async def connection(
    address: Address,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TCP connection, which does not outlive the context.

    Raises:
        ServerUnreachableError: nobody answers there.
    """
    reader, writer = await open_connection(address, timeout_s=PATIENCE_S)
    try:
        yield reader, writer
    finally:
        await hang_up(writer)


def say(writer: asyncio.StreamWriter, octets: bytes) -> None:
    """Writes to a server that may have cut the connection by now.

    Raises:
        ConnectionResetError: it has. (uvloop's transport would raise a RuntimeError.)
    """
    if writer.is_closing():
        raise ConnectionResetError("the server cut the connection")
    writer.write(octets)


async def offer(address: Address, hello: bytes) -> Answer:
    """Sends a ClientHello, and reads until the server has agreed or refused.

    Args:
        address: the server's.
        hello: as a TLS record.

    Raises:
        ServerUnreachableError: nobody answers there.
    """
    async with connection(address) as (reader, writer):
        try:
            say(writer, hello)
        except ConnectionResetError:
            return _CLOSED
        return await answered(reader)


_CLOSED = Answer("closed the connection", closed=True)


async def answered(reader: asyncio.StreamReader) -> Answer:
    """Reads from a server until it has agreed or refused, for `PATIENCE_S` at the most."""
    scanner = Scanner()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (answer := _answer_in(scanner)) is None:
                received = await reader.read(_CHUNK_BYTES)
                if not received:
                    return _CLOSED
                scanner.feed(received)
    except TimeoutError:
        return Answer(f"said nothing within {PATIENCE_S:g} s")
    except OSError:
        return _CLOSED
    return answer


def alert_words(number: int) -> str:
    """An alert by its name and number."""
    name = Alert(number).words if number in {each.value for each in Alert} else "unknown"
    return f"{name} (alert {number})"


def _answer_in(scanner: Scanner) -> Answer | None:
    if scanner.server_hello is not None:
        return Answer(_chosen(scanner.server_hello), hello=scanner.server_hello)
    if scanner.fatal_alert is not None:
        refusal = f"refused: {alert_words(scanner.fatal_alert)}"
        return Answer(refusal, alert=scanner.fatal_alert)
    if scanner.lost:
        return Answer("answered with something that is not TLS")
    return None


def _chosen(hello: ServerHello) -> str:
    compressed = f", compression method {hello.compression}" if hello.compression else ""
    return f"agreed: {hello.version}, {suite_name(hello.cipher_suite)}{compressed}"
