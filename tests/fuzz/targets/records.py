"""TLS records as they go by (`tls.records`): every byte is counted, and no cut is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynctls.tls.records import Scanner
from tests.fuzz.pieces import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

_CUTS: Final = 4
_HEADER: Final = 5
_MOST_KEPT: Final = 1 << 16


def run(data: bytes) -> bool:
    """Four bytes that say how it is cut, and a direction of a connection."""
    how, stream = data[:_CUTS], data[_CUTS:]
    whole, pieces = _scanned([stream]), _scanned(cut(stream, how))
    assert _facts(whole) == _facts(pieces), "its cutting up was seen"
    # At most one record's header and one more that is not whole yet are uncounted.
    assert len(stream) - 2 * _HEADER < whole.meter.total <= len(stream)
    for kept in (whole._client_hello, whole._server_hello, whole.certificate, whole._message):
        assert len(kept or b"") <= _MOST_KEPT
    return not whole.lost


def _scanned(pieces: Iterable[bytes]) -> Scanner:
    scanner = Scanner()
    for piece in pieces:
        scanner.feed(piece)
    return scanner


def _facts(scanner: Scanner) -> tuple[object, ...]:
    return (
        scanner.meter.bytes_by_part,
        scanner.meter.records,
        scanner.client_hello,
        scanner.server_hello,
        scanner.certificate,
        scanner.fatal_alert,
        scanner.last_message,
        scanner.encrypted,
        scanner.opening,
        scanner.lost,
    )


def _record(content: int, body: bytes) -> bytes:
    return bytes((content, 3, 3)) + len(body).to_bytes(2, "big") + body


def _message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


def seeds() -> dict[str, bytes]:
    """Handshake messages, whole and across records; alerts; what is encrypted; what is no TLS."""
    hello = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
    extensions = bytes.fromhex("0017 0000 0010 000d 000b 0a 6173796e63746c732f31 002b 0003 020303")
    client = _message(1, hello + len(extensions).to_bytes(2, "big") + extensions)
    server = _message(2, b"\x03\x03" + bytes(32) + b"\0\xc0\x2b\0" + b"\0\x04\0\x17\0\0")
    certificate = _message(11, b"\0\0\x08" + b"\0\0\x05" + b"leaf.")
    done = _message(14, b"")
    finished = _record(20, b"\x01") + _record(22, bytes(40))
    application = _record(23, bytes(30)) * 3
    flight = server + certificate + done
    made = {
        "client": _record(22, client) + finished + application,
        "server": _record(22, flight) + finished + application,
        "across-records": b"".join(_record(22, flight[at : at + 7]) for at in range(0, 98, 7)),
        "alert": _record(21, b"\x02\x28"),
        "empty-records": _record(22, b"") * 3 + _record(21, b""),
        "no-tls": b"GET / HTTP/1.1\r\nHost: there\r\n\r\n",
        "no-such-length": b"\x16\x03\x03\xff\xff",
    }
    return {name: b"\x01\x00\x09\x40" + stream for name, stream in made.items()}
