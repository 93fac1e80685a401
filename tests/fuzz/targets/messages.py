"""Messages out of TLS records (`tls.messages`), and what is read of them (`costs.fields`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynctls.costs.fields import fields_of
from asynctls.tls.messages import Lister, TLSMessage
from tests.fuzz.pieces import cut
from tests.fuzz.targets import records
from tests.tls.octets import handshake, record, scanned

if TYPE_CHECKING:
    from collections.abc import Iterable

_CUTS: Final = 4
_MOST_KEPT: Final = 1 << 16


def run(data: bytes) -> bool:
    """Four bytes that say how it is cut, and a direction of a connection."""
    how, stream = data[:_CUTS], data[_CUTS:]
    lister, whole = _listed([stream])
    _, pieces = _listed(cut(stream, how))
    scanner = scanned(stream)
    # What is no TLS has no messages to be cut between.
    if not scanner.lost:
        assert whole == pieces, "its cutting up was seen"
    assert _octets(whole) == _octets(pieces) <= lister.scanner.meter.total <= len(stream)
    for message in whole:
        assert len(message.body) <= _MOST_KEPT
        assert all(isinstance(words, str) for words in fields_of(message).values())
    return bool(whole) and not scanner.lost


def _listed(pieces: Iterable[bytes]) -> tuple[Lister, list[TLSMessage]]:
    lister = Lister()
    return lister, [message for piece in pieces for message in lister.feed(piece)]


def _octets(messages: Iterable[TLSMessage]) -> int:
    return sum(message.octets for message in messages)


def seeds() -> dict[str, bytes]:
    """Those of records that have a message, and the messages whose fields are read besides."""
    made = {
        "key-exchange": handshake(12, b"\x03\x00\x1d\x20" + bytes(32) + b"\x08\x04\x00\x04sign"),
        "request": handshake(13, b"\x01\x01\x00\x04\x04\x01\x08\x04\x00\x03\x00\x01a"),
        "client-key-exchange": handshake(16, b"\x20" + bytes(32)),
        "verify": handshake(15, b"\x04\x03\x00\x04sign"),
        "ticket": handshake(4, b"\x00\x00\x1c\x20\x00\x06ticket"),
        "unknown": handshake(99, b"?"),
    }
    of_records = records.seeds()
    del of_records["empty-records"]
    return of_records | {
        name: b"\x01\x00\x09\x40" + record(22, message) for name, message in made.items()
    }
