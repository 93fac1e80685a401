"""ClientHello and ServerHello, taken apart and put together again with something changed.

They travel in the clear, before there is a key (RFC 5246, section 7.4.1), so anybody on the network
can rewrite them. That nobody can do so *unnoticed* is what the downgrade tests show.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from asynctls.probe.relays import Alter

__all__ = [
    "ALPN_EXTENSION",
    "EXTENDED_MASTER_SECRET",
    "SERVER_NAME",
    "SIGNATURE_ALGORITHMS",
    "SUPPORTED_GROUPS",
    "Hello",
    "Rewrite",
    "rewriting",
]

SERVER_NAME = 0
SUPPORTED_GROUPS = 10
SIGNATURE_ALGORITHMS = 13
ALPN_EXTENSION = 16
EXTENDED_MASTER_SECRET = 23

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
        suites = struct.pack(f">{len(self.suites)}H", *self.suites)
        of_client = self.kind == _CLIENT_HELLO
        body = b"".join(
            (
                self.version.to_bytes(2),
                self.random,
                _vector(1, self.session_id),
                _vector(2, suites) if of_client else suites,
                _vector(1, self.compressions) if of_client else self.compressions,
                _vector(
                    2,
                    b"".join(
                        kind.to_bytes(2) + _vector(2, content)
                        for kind, content in self.extensions.items()
                    ),
                ),
            )
        )
        message = bytes((self.kind,)) + _vector(3, body)
        return b"\x16\x03\x03" + _vector(2, message + self.rest)


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


def _numbers(content: bytes) -> list[int]:
    return list(struct.unpack(f">{len(content) // 2}H", content))


def _extensions(content: bytes) -> dict[int, bytes]:
    fields, found = _Fields(content), {}
    while fields:
        kind = int.from_bytes(fields.take(2))
        found[kind] = fields.vector(2)
    return found
