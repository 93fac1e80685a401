"""ClientHello, ServerHello and Certificate, as far as this package asks about them (RFC 5246, 7.4).

Read without judging: OpenSSL refuses what is malformed, these readers give what can be read of it,
None where nothing can, and never raise.
"""

from __future__ import annotations

from typing import Self

import msgspec

__all__ = ["SIGNALS", "ClientHello", "ServerHello", "leaf_of"]

SIGNALS = frozenset({0x00FF, 0x5600})
"""Numbers in the place of cipher suites that only signal something (RFC 5746, RFC 7507)."""

_ALPN = 16
_EXTENDED_MASTER_SECRET = 23
_SUPPORTED_VERSIONS = 43
_RANDOM_BYTES = 32
_VERSION_NAMES = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2"} | {
    0x0304: "TLS 1.3"
}


class ClientHello(msgspec.Struct, frozen=True):
    """What a client offers.

    `versions` are the names of the protocol versions that it offers (RFC 8446, section 4.2.1,
    where it sends the extension; else its highest); `cipher_suites` are the numbers of its cipher
    suites, those that only signal something among them; `alpn` the protocols (RFC 7301).
    """

    versions: tuple[str, ...]
    cipher_suites: tuple[int, ...]
    alpn: tuple[str, ...]
    extended_master_secret: bool

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """Read the body of a ClientHello; None when it is no such thing."""
        reader = _Reader(body)
        version = reader.number(2)
        reader.take(_RANDOM_BYTES)
        reader.vector(1)
        suites = reader.vector(2)
        reader.vector(1)
        if reader.short:
            return None
        extensions = reader.extensions()
        listed = _Reader(extensions.get(_SUPPORTED_VERSIONS, b"")).vector(1)
        # A version that nobody knows is grease (RFC 8701).
        known = tuple(_VERSION_NAMES[n] for n in _numbers(listed) if n in _VERSION_NAMES)
        return cls(
            versions=known or (_VERSION_NAMES.get(version, f"version {version:#06x}"),),
            cipher_suites=_numbers(suites),
            alpn=_alpn(extensions),
            extended_master_secret=_EXTENDED_MASTER_SECRET in extensions,
        )


class ServerHello(msgspec.Struct, frozen=True):
    """What a server chose: protocol version, cipher suite (a number), ALPN (RFC 7301).

    `version` is that of the extension where there is one, as in TLS 1.3 (RFC 8446, section 4.2.1).
    `compression` is a method's number (0: none), `extended_master_secret` RFC 7627's extension 23.
    """

    version: str
    random: bytes
    cipher_suite: int
    compression: int
    alpn: str | None
    extended_master_secret: bool

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """Read the body of a ServerHello; None when it is no such thing."""
        reader = _Reader(body)
        version = reader.number(2)
        random = reader.take(_RANDOM_BYTES)
        reader.vector(1)
        cipher_suite = reader.number(2)
        compression = reader.number(1)
        if reader.short:
            return None
        extensions = reader.extensions()
        version = int.from_bytes(extensions.get(_SUPPORTED_VERSIONS, version.to_bytes(2)))
        alpn = _alpn(extensions)
        return cls(
            version=_VERSION_NAMES.get(version, f"version {version:#06x}"),
            random=random,
            cipher_suite=cipher_suite,
            compression=compression,
            alpn=alpn[0] if alpn else None,
            extended_master_secret=_EXTENDED_MASTER_SECRET in extensions,
        )


def leaf_of(body: bytes) -> bytes | None:
    """The first certificate (DER) in the body of a Certificate message; None without one.

    The body may be cut off behind that certificate.
    """
    reader = _Reader(body)
    reader.number(3)
    leaf = reader.vector(3)
    return None if reader.short or not leaf else leaf


def _numbers(octets: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(octets[i : i + 2]) for i in range(0, len(octets), 2))


def _alpn(extensions: dict[int, bytes]) -> tuple[str, ...]:
    names = _Reader(_Reader(extensions.get(_ALPN, b"")).vector(2))
    found = []
    while names.left and not names.short:
        found.append(names.vector(1).decode("ascii", "backslashreplace"))
    return tuple(found)


class _Reader:
    """Takes fields off the front; past the end it gives what there is and is `short` from then."""

    __slots__ = ("_at", "_content", "short")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0
        self.short = False

    @property
    def left(self) -> int:
        return len(self._content) - self._at

    def take(self, octets: int) -> bytes:
        taken = self._content[self._at : self._at + octets]
        self._at += len(taken)
        self.short |= len(taken) < octets
        return taken

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets))

    def vector(self, length_octets: int) -> bytes:
        return self.take(self.number(length_octets))

    def extensions(self) -> dict[int, bytes]:
        listed = _Reader(self.vector(2))
        found: dict[int, bytes] = {}
        while listed.left and not listed.short:
            kind = listed.number(2)
            found.setdefault(kind, listed.vector(2))
        return found
