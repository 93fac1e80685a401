"""One bit changed in one record of a connection, as it goes by (RFC 5246, sections 6.2 and 7.4).

Where the bit is was chosen so that the message keeps its shape: lengths stay, so that nobody waits
for bytes that never come, and what finds the change is what should: a signature, a Finished
message, a record's MAC.
"""

from __future__ import annotations

from dataclasses import dataclass

from asynctls.tls.records import HandshakeType

__all__ = [
    "ALERT",
    "APPLICATION_DATA",
    "FROM_CLIENT",
    "FROM_SERVER",
    "Flip",
    "Flipping",
]

_CHANGE_CIPHER_SPEC, _HANDSHAKE = 20, 22
ALERT, APPLICATION_DATA = 21, 23

_HEADER_BYTES = 5
_MESSAGE_HEADER_BYTES = 4
# Behind the nonce of AES-GCM (RFC 5288, section 3), of eight bytes.
_CIPHERTEXT = _HEADER_BYTES + 8


@dataclass(frozen=True, slots=True)
class Flip:
    """Where a bit is changed.

    Attributes:
        name: the message or record, by the RFC's name.
        content: the record's content type.
        message: the handshake message's type, for one in the clear.
        at: in the message, counted from its header, or from its end; in an encrypted record it is
            of no account.
        source: what should find the change, by RFC and section.
    """

    name: str
    content: int
    message: HandshakeType | None = None
    at: int = 0
    source: str = "RFC 5246, section 7.4.9"

    @property
    def in_session(self) -> bool:
        """Whether it comes after the handshake."""
        return self.content in (APPLICATION_DATA, ALERT)


def _in(message: HandshakeType, at: int) -> Flip:
    name = "".join(word.capitalize() for word in message.name.split("_"))
    return Flip(name, _HANDSHAKE, message, at)


_MAC = "RFC 5246, section 6.2.3.3"
_ENDS = (
    Flip("ChangeCipherSpec", _CHANGE_CIPHER_SPEC, source="RFC 5246, section 7.1"),
    Flip("Finished", _HANDSHAKE, source=_MAC),
    Flip("application data", APPLICATION_DATA, source=_MAC),
    Flip("alert", ALERT, source=_MAC),
)

FROM_CLIENT: tuple[Flip, ...] = (
    # The last of the signature algorithms (OpenSSL sends that extension last): no choice changes.
    _in(HandshakeType.CLIENT_HELLO, -1),
    # The leaf's serial number.
    _in(HandshakeType.CERTIFICATE, _MESSAGE_HEADER_BYTES + 6 + 24),
    # The public key and the signature.
    _in(HandshakeType.CLIENT_KEY_EXCHANGE, _MESSAGE_HEADER_BYTES + 1 + 12),
    _in(HandshakeType.CERTIFICATE_VERIFY, -1),
    *_ENDS,
)
"""What a client sends, in its order."""

FROM_SERVER: tuple[Flip, ...] = (
    # The random.
    _in(HandshakeType.SERVER_HELLO, _MESSAGE_HEADER_BYTES + 2 + 12),
    _in(HandshakeType.CERTIFICATE, _MESSAGE_HEADER_BYTES + 6 + 24),
    _in(HandshakeType.SERVER_KEY_EXCHANGE, -1),
    # The first certificate type, of several.
    _in(HandshakeType.CERTIFICATE_REQUEST, _MESSAGE_HEADER_BYTES + 1),
    # It is empty: its own type.
    _in(HandshakeType.SERVER_HELLO_DONE, 0),
    _in(HandshakeType.NEW_SESSION_TICKET, -1),
    *_ENDS,
)
"""What a server sends, likewise."""


class Flipping:
    """An `Alter` that changes the first record or message of a kind; done twice, it is undone.

    Attributes:
        done: whether there was one.
    """

    def __init__(self, flip: Flip) -> None:
        self._flip = flip
        self._encrypted = False
        self._left = 0
        self.done = False

    def __call__(self, record: bytes) -> bytes:
        """The record to send on."""
        at = None if self.done else self._find(record)
        if at is None:
            return record
        self.done = True
        return record[:at] + bytes((record[at] ^ 1,)) + record[at + 1 :]

    def _find(self, record: bytes) -> int | None:
        content, flip = record[0], self._flip
        if self._encrypted:
            found = content == flip.content and flip.message is None
            return min(_CIPHERTEXT, len(record) - 1) if found else None
        if content == _CHANGE_CIPHER_SPEC:
            self._encrypted = True
            return len(record) - 1 if flip.content == _CHANGE_CIPHER_SPEC else None
        return self._find_message(record) if content == _HANDSHAKE else None

    def _find_message(self, record: bytes) -> int | None:
        """Messages may share a record, and one may go on in the next."""
        at = _HEADER_BYTES + self._left
        while at + _MESSAGE_HEADER_BYTES <= len(record):
            end = at + _MESSAGE_HEADER_BYTES + int.from_bytes(record[at + 1 : at + 4])
            if record[at] == self._flip.message:
                where = self._flip.at + (at if self._flip.at >= 0 else end)
                return min(where, len(record) - 1)
            at = end
        self._left = max(0, at - len(record))
        return None
