"""One direction of a TLS 1.2 connection as a list of its messages, without keys (RFC 5246).

A `Scanner` counts bytes as they go by; a `Lister` has it count message by message, and says what
each of them was: for those who show a connection, not for those who serve one. A record is read
once it is there in full, so one (18 KiB at most) is all that is ever kept, and one handshake
message of 64 KiB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asynctls.tls.records import HandshakeType, Part, Scanner

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ALERT", "GCM_OCTETS", "RECORD_HEADER_OCTETS", "Lister", "TLSMessage"]

RECORD_HEADER_OCTETS = 5
"""Type, version, length (RFC 5246, section 6.2.1)."""

GCM_OCTETS = 8 + 16
"""What AES-GCM adds to a record: the explicit nonce and the tag (RFC 5288, section 3)."""

ALERT = "Alert"
"""The name of an alert (RFC 5246, section 7.2), encrypted or not."""

_MESSAGE_HEADER_OCTETS = 4
_MOST_KEPT_OCTETS = 1 << 16
_HANDSHAKE = 22
_RECORDS = {20: "ChangeCipherSpec", 21: ALERT, 22: "handshake message", 23: "application data"}
_NO_TLS = "not TLS"


@dataclass(frozen=True, slots=True)
class TLSMessage:
    """A handshake message, or a record of any other type.

    Attributes:
        name: as RFC 5246 has it: `ClientHello`, `ChangeCipherSpec`; what is encrypted by the type
            of its record.
        part: what its bytes are counted as.
        octets: its bytes, with the headers of the records that began with it.
        records: how many records began with it; 0 for a message behind another one in its record.
        encrypted: only the two ends could read it.
        body: a handshake message's, as it was sent (64 KiB of it at most); of what is encrypted,
            nothing.
    """

    name: str
    part: Part
    octets: int
    records: int
    encrypted: bool
    body: bytes = field(default=b"", repr=False)


class Lister:
    """Reads one direction of a connection as its bytes go by, in chunks of any size.

    Attributes:
        scanner: has counted what was listed.
    """

    def __init__(self) -> None:
        self.scanner = Scanner()
        self._arrived = bytearray()
        self._counted = self.scanner.meter.bytes_by_part
        self._records = 0
        self._message = bytearray()
        self._message_octets = 0
        self._finished = False

    def feed(self, received: bytes) -> Iterator[TLSMessage]:
        """The messages that are whole with `received`, the next bytes of this direction."""
        self._arrived += received
        while len(self._arrived) >= RECORD_HEADER_OCTETS or self.scanner.lost:
            if not self._is_a_record():
                self.scanner.feed(bytes(self._arrived))
                self._arrived.clear()
                yield self._whole(_NO_TLS)
                return
            size = RECORD_HEADER_OCTETS + int.from_bytes(self._arrived[3:5])
            if len(self._arrived) < size:
                return
            record = bytes(self._arrived[:size])
            del self._arrived[:size]
            yield from self._read(record)

    def _is_a_record(self) -> bool:
        if self.scanner.lost:
            return False
        # What is a header the scanner decides, here as well.
        trial = Scanner()
        trial.feed(bytes(self._arrived[:RECORD_HEADER_OCTETS]))
        return not trial.lost

    def _read(self, record: bytes) -> Iterator[TLSMessage]:
        content, encrypted = record[0], self.scanner.encrypted
        self._records += 1
        if content == _HANDSHAKE and not encrypted:
            yield from self._read_handshake(record)
            return
        self.scanner.feed(record)
        if content == _HANDSHAKE and not self._finished:
            self._finished = True
            yield self._whole(_handshake_name(HandshakeType.FINISHED), encrypted=True)
        else:
            yield self._whole(_RECORDS[content], encrypted=encrypted)

    def _read_handshake(self, record: bytes) -> Iterator[TLSMessage]:
        """A record may hold several messages, and a message may take several records."""
        counted, at, end = 0, RECORD_HEADER_OCTETS, len(record)
        while at < end:
            stop = min(end, at + self._missing())
            self._message_octets += stop - at
            self._message += record[at : min(stop, at + _MOST_KEPT_OCTETS - len(self._message))]
            at = stop
            if self._missing():
                continue
            self.scanner.feed(record[counted:at])
            counted = at
            yield self._whole(
                _handshake_name(self._message[0]),
                body=bytes(self._message[_MESSAGE_HEADER_OCTETS:]),
            )
            self._message.clear()
            self._message_octets = 0
        self.scanner.feed(record[counted:])

    def _missing(self) -> int:
        """How many bytes the handshake message lacks that is being read; of its header first."""
        have = self._message_octets
        if have < _MESSAGE_HEADER_OCTETS:
            return _MESSAGE_HEADER_OCTETS - have
        return _MESSAGE_HEADER_OCTETS + int.from_bytes(self._message[1:4]) - have

    def _whole(self, name: str, *, encrypted: bool = False, body: bytes = b"") -> TLSMessage:
        before, self._counted = self._counted, self.scanner.meter.bytes_by_part
        grown = {part: n - before[part] for part, n in self._counted.items() if n != before[part]}
        records, self._records = self._records, 0
        return TLSMessage(
            name, next(iter(grown), Part.OTHER), sum(grown.values()), records, encrypted, body
        )


def _handshake_name(kind: int) -> str:
    try:
        return HandshakeType(kind).name.title().replace("_", "")
    except ValueError:
        return f"handshake message {kind}"
