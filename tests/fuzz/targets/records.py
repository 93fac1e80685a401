"""TLS records as they go by (`tls.records`): every byte is counted, and no cut is seen."""

from __future__ import annotations

from typing import Final

from tests.fuzz.pieces import cut
from tests.tls.octets import facts, handshake, record, scanned

_CUTS: Final = 4
_HEADER: Final = 5
_MOST_KEPT: Final = 1 << 16


def run(data: bytes) -> bool:
    """Four bytes that say how it is cut, and a direction of a connection."""
    how, stream = data[:_CUTS], data[_CUTS:]
    whole, pieces = scanned(stream), scanned(*cut(stream, how))
    assert facts(whole) == facts(pieces), "its cutting up was seen"
    # At most one record's header and one more that is not whole yet are uncounted.
    assert len(stream) - 2 * _HEADER < whole.meter.total <= len(stream)
    for kept in (whole._client_hello, whole._server_hello, whole.certificate, whole._message):
        assert len(kept or b"") <= _MOST_KEPT
    return not whole.lost


def seeds() -> dict[str, bytes]:
    """Handshake messages, whole and across records; alerts; what is encrypted; what is no TLS."""
    hello = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
    extensions = bytes.fromhex("0017 0000 0010 000d 000b 0a 6173796e63746c732f31 002b 0003 020303")
    client = handshake(1, hello + len(extensions).to_bytes(2, "big") + extensions)
    server = handshake(2, b"\x03\x03" + bytes(32) + b"\0\xc0\x2b\0" + b"\0\x04\0\x17\0\0")
    certificate = handshake(11, b"\0\0\x08" + b"\0\0\x05" + b"leaf.")
    done = handshake(14, b"")
    finished = record(20, b"\x01") + record(22, bytes(40))
    application = record(23, bytes(30)) * 3
    flight = server + certificate + done
    made = {
        "client": record(22, client) + finished + application,
        "server": record(22, flight) + finished + application,
        "across-records": b"".join(record(22, flight[at : at + 7]) for at in range(0, 98, 7)),
        "alert": record(21, b"\x02\x28"),
        "empty-records": record(22, b"") * 3 + record(21, b""),
        "no-tls": b"GET / HTTP/1.1\r\nHost: there\r\n\r\n",
        "no-such-length": b"\x16\x03\x03\xff\xff",
    }
    return {name: b"\x01\x00\x09\x40" + stream for name, stream in made.items()}
