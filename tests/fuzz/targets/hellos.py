"""ClientHello, ServerHello and Certificate (`tls.hellos`): read without judging, never raising."""

from __future__ import annotations

from typing import Final

from asynctls.tls.hellos import ClientHello, ServerHello, leaf_of

_BEFORE_EXTENSIONS: Final = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2b" + b"\x01\0"


def run(data: bytes) -> bool:
    """A body, and the same as the extensions of a good hello."""
    client, server = ClientHello.read(data), ServerHello.read(data)
    if client is not None:
        assert client.versions
        assert all(client.versions)
    if server is not None:
        assert 0 <= server.cipher_suite < 1 << 16
    leaf = leaf_of(data)
    if leaf is not None:
        assert data[6:].startswith(leaf)
        assert len(leaf) == int.from_bytes(data[3:6], "big")
    if len(data) < 1 << 16:
        extended = _BEFORE_EXTENSIONS + len(data).to_bytes(2, "big") + data
        assert ClientHello.read(extended) is not None, "odd extensions hide a whole hello"
    return client is not None or server is not None or leaf is not None


def seeds() -> dict[str, bytes]:
    """A body of each, and extensions."""
    extensions = bytes.fromhex("0017 0000 0010 000d 000b 0a 6173796e63746c732f31 002b 0003 020303")
    return {
        "client": _BEFORE_EXTENSIONS + len(extensions).to_bytes(2, "big") + extensions,
        "old-client": b"\x03\x00" + _BEFORE_EXTENSIONS[2:],
        "server": b"\x03\x03" + bytes(32) + b"\0\xc0\x2b\0" + b"\0\x04\0\x17\0\0",
        "certificate": b"\0\0\x08" + b"\0\0\x05" + b"leaf.",
        "no-random": b"\x03\x03" + bytes(20),
        "no-body": b"",
    }
