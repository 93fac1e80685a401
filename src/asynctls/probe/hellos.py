"""Hellos made by hand, or taken apart and put together again with something changed.

They travel in the clear, before there is a key (RFC 5246, section 7.4.1), so anybody can offer what
no TLS library of today offers, and anybody on the network can rewrite what others say.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from asynctls.probe.relays import Alter

__all__ = [
    "ALPN_EXTENSION",
    "EMPTY_RENEGOTIATION_INFO_SCSV",
    "EXTENDED_MASTER_SECRET",
    "FALLBACK_SCSV",
    "RENEGOTIATION_INFO",
    "SERVER_NAME",
    "SIGNATURE_ALGORITHMS",
    "SSL_3_0",
    "SUPPORTED_GROUPS",
    "TLS_1_0",
    "TLS_1_1",
    "TLS_1_2",
    "TLS_1_3",
    "Hello",
    "Rewrite",
    "client_hello",
    "rewriting",
]

SSL_3_0, TLS_1_0, TLS_1_1, TLS_1_2, TLS_1_3 = range(0x0300, 0x0305)

SERVER_NAME = 0
SUPPORTED_GROUPS = 10
SIGNATURE_ALGORITHMS = 13
ALPN_EXTENSION = 16
EXTENDED_MASTER_SECRET = 23
RENEGOTIATION_INFO = 0xFF01

EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF
"""Says as a suite that the client can renegotiate securely (RFC 5746, section 3.3)."""

FALLBACK_SCSV = 0x5600
"""Says as a suite that the client could do better than the version it offers (RFC 7507)."""

_EC_POINT_FORMATS = 11
_SUPPORTED_VERSIONS = 43
_PSK_KEY_EXCHANGE_MODES = 45
_KEY_SHARE = 51

_X25519 = 29
# X25519, X448, the curves of NIST and Brainpool (RFC 8422, section 5.1.1; RFC 7027).
_CURVES = (_X25519, 30, 23, 24, 25, 26, 27, 28)
# Whatever a server's key is: ECDSA, EdDSA, RSASSA-PSS and PKCS1-v1_5 (RFC 8446, section 4.2.3),
# those with SHA-1 at last.
_SIGNATURES = (
    *(0x0403, 0x0503, 0x0603, 0x0807, 0x0808),
    *(0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B, 0x0401, 0x0501, 0x0601),
    *(0x0203, 0x0201),
)

_CLIENT_HELLO = 1


@dataclass
class Hello:
    """A hello's fields, to be changed at will; what is not named here is kept as it was.

    ``suites`` and ``compressions`` are what a client offers, or the one of each that a server
    chose.
    """

    kind: int
    version: int
    random: bytes
    session_id: bytes
    suites: list[int]
    compressions: bytes
    extensions: dict[int, bytes]
    rest: bytes

    @classmethod
    def read(cls, record: bytes) -> Self:
        """Take the hello at the start of a TLS record apart; ``rest`` is what follows it there."""
        kind, length = record[5], int.from_bytes(record[6:9])
        fields = _Fields(record[9 : 9 + length])
        of_client = kind == _CLIENT_HELLO
        return cls(
            kind=kind,
            version=int.from_bytes(fields.take(2)),
            random=fields.take(32),
            session_id=fields.vector(1),
            suites=_numbers(fields.vector(2) if of_client else fields.take(2)),
            compressions=fields.vector(1) if of_client else fields.take(1),
            extensions=_extensions(fields.vector(2)),
            rest=record[9 + length :],
        )

    def record(self) -> bytes:
        """The hello as a TLS record."""
        message = self.message() + self.rest
        return b"\x16" + min(self.version, TLS_1_2).to_bytes(2) + _vector(2, message)

    def message(self) -> bytes:
        """The hello as a handshake message."""
        suites = _packed(*self.suites)
        of_client = self.kind == _CLIENT_HELLO
        body = b"".join(
            (
                self.version.to_bytes(2),
                self.random,
                _vector(1, self.session_id),
                _vector(2, suites) if of_client else suites,
                _vector(1, self.compressions) if of_client else self.compressions,
                # SSL 3.0 has no extensions, and no place where they could be empty.
                _vector(2, _listed(self.extensions)) if self.extensions else b"",
            )
        )
        return bytes((self.kind,)) + _vector(3, body)


def client_hello(
    version: int,
    suites: Iterable[int],
    *,
    server_name: str | None = None,
    alpn: str | None = None,
    compressions: bytes = b"\0",
) -> Hello:
    """The ClientHello of a client that knows one version of SSL or TLS alone.

    It has what a server needs to agree: curves, signature algorithms, a key share for TLS 1.3.

    Args:
        version: the one that is offered.
        suites: the cipher suites that are offered.
        server_name: the host that is asked for (RFC 6066, section 3), a DNS name.
        alpn: the application protocol that is offered.
        compressions: the compression methods that are offered.
    """
    extensions: dict[int, bytes] = {}
    if version >= TLS_1_0:
        if server_name is not None:
            extensions[SERVER_NAME] = _vector(2, b"\0" + _vector(2, server_name.encode()))
        extensions[SUPPORTED_GROUPS] = _vector(2, _packed(*_CURVES))
        extensions[_EC_POINT_FORMATS] = _vector(1, b"\0")
        if alpn is not None:
            extensions[ALPN_EXTENSION] = _vector(2, _vector(1, alpn.encode()))
    if version in (TLS_1_0, TLS_1_1, TLS_1_2):
        extensions[EXTENDED_MASTER_SECRET] = b""
        extensions[RENEGOTIATION_INFO] = _vector(1, b"")
    if version >= TLS_1_2:
        extensions[SIGNATURE_ALGORITHMS] = _vector(2, _packed(*_SIGNATURES))
    if version == TLS_1_3:
        # Any 32 bytes are a public key of X25519 (RFC 7748, section 5).
        share = _packed(_X25519) + _vector(2, os.urandom(32))
        extensions[_SUPPORTED_VERSIONS] = _vector(1, _packed(TLS_1_3))
        extensions[_PSK_KEY_EXCHANGE_MODES] = _vector(1, b"\1")
        extensions[_KEY_SHARE] = _vector(2, share)
    return Hello(
        kind=_CLIENT_HELLO,
        version=min(version, TLS_1_2),
        random=os.urandom(32),
        session_id=os.urandom(32) if version == TLS_1_3 else b"",
        suites=[*suites, *((EMPTY_RENEGOTIATION_INFO_SCSV,) if version == SSL_3_0 else ())],
        compressions=compressions,
        extensions=extensions,
        rest=b"",
    )


Rewrite = Callable[[Hello], None]
"""Changes a hello on its way."""


def rewriting(*changes: Rewrite) -> Alter:
    """An alteration of the first record of a direction, which is its hello; all others stay."""
    done = False

    def alter(record: bytes) -> bytes:
        nonlocal done
        if done:
            return record
        done = True
        hello = Hello.read(record)
        for change in changes:
            change(hello)
        return hello.record()

    return alter


class _Fields:
    def __init__(self, content: bytes) -> None:
        self._left = content

    def take(self, octets: int) -> bytes:
        taken, self._left = self._left[:octets], self._left[octets:]
        return taken

    def vector(self, length_octets: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_octets)))

    def __bool__(self) -> bool:
        return bool(self._left)


def _vector(length_octets: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_octets) + content


def _packed(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


def _listed(extensions: dict[int, bytes]) -> bytes:
    return b"".join(kind.to_bytes(2) + _vector(2, content) for kind, content in extensions.items())


def _numbers(content: bytes) -> list[int]:
    return list(struct.unpack(f">{len(content) // 2}H", content))


def _extensions(content: bytes) -> dict[int, bytes]:
    fields, found = _Fields(content), {}
    while fields:
        kind = int.from_bytes(fields.take(2))
        found[kind] = fields.vector(2)
    return found
