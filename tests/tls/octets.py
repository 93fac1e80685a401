"""Records and handshake messages made by hand (RFC 5246, 6.2.1, 7.4), and what a scanner reads."""

from __future__ import annotations

from asynctls.tls.records import Scanner

__all__ = ["facts", "handshake", "octets", "record", "scanned"]


def record(content: int, body: bytes) -> bytes:
    """A record of TLS 1.2."""
    return bytes((content, 3, 3)) + len(body).to_bytes(2) + body


def handshake(kind: int, body: bytes) -> bytes:
    """A handshake message."""
    return bytes((kind,)) + len(body).to_bytes(3) + body


def octets(stream: bytes) -> list[bytes]:
    """As a peer sends them that sends one at a time."""
    return [bytes((octet,)) for octet in stream]


def scanned(*pieces: bytes) -> Scanner:
    """A scanner that was fed with them."""
    scanner = Scanner()
    for piece in pieces:
        scanner.feed(piece)
    return scanner


def facts(scanner: Scanner) -> tuple[object, ...]:
    """All that it tells."""
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
