"""What can be read off the bytes of a TLS 1.2 connection without its keys (RFC 5246).

OpenSSL judges a handshake and says little about it: after a refusal it has no peer certificate,
it never tells whether the extended master secret was agreed on, and it counts nothing. In TLS 1.2
all of that travels in the clear, so a `Scanner` beside each direction reads it: record headers
(section 6.2.1), ClientHello and ServerHello (7.4.1), the leaf of Certificate (7.4.2) and alerts
(7.2), and counts every byte by the part that it belongs to.

A scanner decides nothing and never raises, whatever the bytes are: OpenSSL is the judge of them.
It keeps no more than one message's first 64 KiB, and once a direction is encrypted it only goes
from one record header to the next.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from struct import Struct
from typing import TypeAlias

from asynctls.tls.hellos import ClientHello, ServerHello, leaf_of

__all__ = ["HandshakeType", "Meter", "Octets", "Part", "Scanner"]

Octets: TypeAlias = bytes | bytearray | memoryview
"""What arrived; of a view nothing is kept."""

_HEADER_BYTES = 5
_HEADER = Struct(">BBxH").unpack_from
_MAJOR = 3
_MESSAGE_HEADER_BYTES = 4
_MAX_FRAGMENT_BYTES = (1 << 14) + 2048
_MAX_KEPT_BYTES = 1 << 16
_OPENING_BYTES = 8

_CHANGE_CIPHER_SPEC = 20
_ALERT = 21
_HANDSHAKE = 22
_APPLICATION_DATA = 23
_FATAL = 2


class Part(StrEnum):
    """What a byte on the wire was for."""

    HELLOS = "hellos"
    CERTIFICATES = "certificates"
    KEY_EXCHANGE = "key_exchange"
    CERTIFICATE_VERIFY = "certificate_verify"
    FINISHED = "finished"
    TICKETS = "tickets"
    ALERTS = "alerts"
    APPLICATION_DATA = "application_data"
    OTHER = "other"


class HandshakeType(IntEnum):
    """Handshake messages of TLS 1.2 (RFC 5246, section 7.4; RFC 5077; RFC 6066)."""

    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22


_PARTS = len(Part)
# Counts are kept in a list, by a part's place in Part: hashing an enum's member is slow, and this
# is done for every record.
(
    _HELLOS,
    _CERTIFICATES,
    _KEY_EXCHANGE,
    _CERTIFICATE_VERIFY,
    _FINISHED,
    _TICKETS,
    _ALERTS,
    _APPLICATION,
    _OTHER,
) = range(_PARTS)

_PART_OF: dict[int, int] = {
    HandshakeType.HELLO_REQUEST: _HELLOS,
    HandshakeType.CLIENT_HELLO: _HELLOS,
    HandshakeType.SERVER_HELLO: _HELLOS,
    HandshakeType.NEW_SESSION_TICKET: _TICKETS,
    HandshakeType.CERTIFICATE: _CERTIFICATES,
    HandshakeType.SERVER_KEY_EXCHANGE: _KEY_EXCHANGE,
    HandshakeType.CERTIFICATE_REQUEST: _CERTIFICATES,
    HandshakeType.SERVER_HELLO_DONE: _HELLOS,
    HandshakeType.CERTIFICATE_VERIFY: _CERTIFICATE_VERIFY,
    HandshakeType.CLIENT_KEY_EXCHANGE: _KEY_EXCHANGE,
    HandshakeType.FINISHED: _FINISHED,
    HandshakeType.CERTIFICATE_STATUS: _CERTIFICATES,
}
_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE = 1, 2, 11
_KEPT = (_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE)


class Meter:
    """Bytes of one direction by part, record headers included, and the number of records.

    A record's header counts with the first message in it, so that the parts sum up to every byte
    of the records seen so far; `total` is that sum.
    """

    __slots__ = ("_counts", "records")

    def __init__(self, counts: list[int]) -> None:
        self._counts = counts
        self.records = 0

    @property
    def bytes_by_part(self) -> dict[Part, int]:
        """How many bytes each part took until now."""
        return dict(zip(Part, self._counts, strict=True))

    @property
    def total(self) -> int:
        """All bytes counted."""
        return sum(self._counts)

    def __repr__(self) -> str:
        parts = ", ".join(f"{part}={n}" for part, n in self.bytes_by_part.items() if n)
        return f"<Meter {parts or 'nothing'}>"


class Scanner:
    """Reads one direction of a connection as its bytes go by, in chunks of any size.

    Attributes:
        meter: bytes by part.
        fatal_alert: the description (a number) of a plaintext fatal alert.
        last_message: the type of the last whole plaintext handshake message.
        encrypted: a ChangeCipherSpec went by, and all after it is under the connection's keys.
        opening: the first bytes of the direction; all that there is to go by if they are not TLS.
    """

    __slots__ = (
        "_alert",
        "_body_left",
        "_certificate",
        "_client_hello",
        "_content",
        "_counts",
        "_finished",
        "_header",
        "_lost",
        "_message",
        "_message_left",
        "_server_hello",
        "_uncounted",
        "encrypted",
        "fatal_alert",
        "last_message",
        "meter",
        "opening",
    )

    def __init__(self) -> None:
        self._counts = [0] * _PARTS
        self.meter = Meter(self._counts)
        self.fatal_alert: int | None = None
        self.last_message: int | None = None
        self.encrypted = False
        self.opening = b""
        self._client_hello: bytes | None = None
        self._server_hello: bytes | None = None
        self._certificate: bytes | None = None
        self._header = bytearray()
        self._content = 0
        self._body_left = 0
        self._uncounted = 0
        self._alert = bytearray()
        self._message = bytearray()
        self._message_left = 0
        self._finished = False
        self._lost = False

    @property
    def lost(self) -> bool:
        """The bytes were not TLS records, and nothing after that was read."""
        return self._lost

    @property
    def client_hello(self) -> ClientHello | None:
        """The first ClientHello of this direction, until the direction is encrypted."""
        # Read when somebody asks: in a handshake that goes well nobody does.
        return None if self._client_hello is None else ClientHello.read(self._client_hello)

    @property
    def server_hello(self) -> ServerHello | None:
        """The first ServerHello of this direction."""
        return None if self._server_hello is None else ServerHello.read(self._server_hello)

    @property
    def certificate(self) -> bytes | None:
        """The leaf (DER) of the first Certificate message, as it was shown: nobody verified it."""
        return None if self._certificate is None else leaf_of(self._certificate)

    def forget_certificates(self) -> None:
        """They are known otherwise by now: a thousand connections need no copy each."""
        self._certificate = None

    def feed(self, received: Octets) -> None:
        """Read on: `received` are the next bytes of this direction."""
        at, end = 0, len(received)
        if (
            self.encrypted
            and end > _HEADER_BYTES
            and received[0] == _APPLICATION_DATA
            and (received[3] << 8 | received[4]) == end - _HEADER_BYTES
            and received[1] == _MAJOR
            and not (self._body_left or self._header or self._lost)
            and end <= _HEADER_BYTES + _MAX_FRAGMENT_BYTES
        ):
            # One record of data: so short messages come and go, and each is to cost little here.
            self._counts[_APPLICATION] += end
            self.meter.records += 1
            return
        if len(self.opening) < _OPENING_BYTES:
            self.opening = (self.opening + received[:_OPENING_BYTES])[:_OPENING_BYTES]
        while at < end:
            if self._lost:
                self._counts[_OTHER] += end - at
                return
            if not self._body_left and not self._header:
                at = self._whole_records(received, at, end)
                if at == end:
                    return
            if self._body_left:
                stop = min(end, at + self._body_left)
                self._body(received, at, stop)
                self._body_left -= stop - at
                if not self._body_left:
                    self._end_of_record()
            else:
                stop = min(end, at + _HEADER_BYTES - len(self._header))
                self._header += received[at:stop]
                if len(self._header) == _HEADER_BYTES:
                    self._begin_record()
            at = stop

    def _whole_records(self, received: Octets, at: int, end: int) -> int:
        """Read the records at `at` that are there in full, and say where they end.

        This is how OpenSSL and most others send: a record, in a handshake a message, at a time. At
        the first one that is anything else it stops, for `feed` to go through it bit by bit.
        """
        records = 0
        while end - at > _HEADER_BYTES:
            content, major, length = _HEADER(received, at)
            stop = at + _HEADER_BYTES + length
            if major != _MAJOR or stop > end or not 0 < length <= _MAX_FRAGMENT_BYTES:
                break
            if content == _APPLICATION_DATA:
                part = _APPLICATION
            elif content == _HANDSHAKE:
                if self.encrypted:
                    # One Finished is all that may come encrypted; more would be a renegotiation.
                    part = _OTHER if self._finished else _FINISHED
                    self._finished = True
                elif self._is_one_message(received, at, length):
                    message = at + _HEADER_BYTES
                    self.last_message = kind = received[message]
                    part = _PART_OF.get(kind, _OTHER)
                    if kind in _KEPT:
                        self._keep_message(kind, received, message + _MESSAGE_HEADER_BYTES, stop)
                else:
                    break
            elif content == _CHANGE_CIPHER_SPEC:
                part = _FINISHED
                self._begin_encrypted()
            elif content == _ALERT and self.encrypted:
                part = _ALERTS
            else:
                break
            self._counts[part] += stop - at
            records += 1
            at = stop
        self.meter.records += records
        return at

    def _is_one_message(self, received: Octets, at: int, length: int) -> bool:
        """Whether the record at `at` has one handshake message, all of it, and nothing else."""
        size = length - _MESSAGE_HEADER_BYTES
        return (
            size >= 0
            and not self._message
            and received[at + 6] == 0
            and received[at + 7] << 8 | received[at + 8] == size
        )

    def _begin_record(self) -> None:
        content, major, _, high, low = self._header
        length = high << 8 | low
        self._header.clear()
        if (
            not _CHANGE_CIPHER_SPEC <= content <= _APPLICATION_DATA
            or major != _MAJOR
            or length > _MAX_FRAGMENT_BYTES
        ):
            self._lost = True
            self._counts[_OTHER] += _HEADER_BYTES
            return
        self.meter.records += 1
        self._content = content
        self._body_left = length
        self._uncounted = _HEADER_BYTES
        if not length:
            self._count(self._part_of_record(), 0)
            self._end_of_record()

    def _part_of_record(self) -> int:
        match self._content:
            case 23:
                return _APPLICATION
            case 20:
                return _FINISHED
            case 21:
                return _ALERTS
            case _:
                # One Finished is all that may come encrypted; more would be a renegotiation.
                return _OTHER if self._finished or not self.encrypted else _FINISHED

    def _body(self, received: Octets, at: int, stop: int) -> None:
        if self.encrypted or self._content in (_APPLICATION_DATA, _CHANGE_CIPHER_SPEC):
            self._count(self._part_of_record(), stop - at)
        elif self._content == _ALERT:
            self._count(_ALERTS, stop - at)
            self._alert += received[at : min(stop, at + 2 - len(self._alert))]
        else:
            self._handshake(received, at, stop)

    def _end_of_record(self) -> None:
        if self.encrypted:
            self._finished |= self._content == _HANDSHAKE
        elif self._content == _CHANGE_CIPHER_SPEC:
            self._begin_encrypted()
        elif self._content == _ALERT:
            if len(self._alert) == 2 and self._alert[0] == _FATAL and self.fatal_alert is None:
                self.fatal_alert = self._alert[1]
            self._alert.clear()

    def _begin_encrypted(self) -> None:
        self.encrypted = True
        self._message = bytearray()
        self._client_hello = None

    def _handshake(self, received: Octets, at: int, stop: int) -> None:
        message = self._message
        while at < stop:
            if len(message) < _MESSAGE_HEADER_BYTES:
                until = min(stop, at + _MESSAGE_HEADER_BYTES - len(message))
                message += received[at:until]
                if len(message) == _MESSAGE_HEADER_BYTES:
                    self._message_left = int.from_bytes(message[1:])
            else:
                until = min(stop, at + self._message_left)
                self._message_left -= until - at
                if message[0] in _KEPT:
                    message += received[at : min(until, at + _MAX_KEPT_BYTES - len(message))]
            self._count(_PART_OF.get(message[0], _OTHER), until - at)
            at = until
            if len(message) >= _MESSAGE_HEADER_BYTES and not self._message_left:
                self.last_message = kind = message[0]
                if kind in _KEPT:
                    self._keep_message(kind, message, _MESSAGE_HEADER_BYTES, len(message))
                message.clear()

    def _keep_message(self, kind: int, held: Octets, at: int, stop: int) -> None:
        """A handshake message is whole, or as much of it as is kept: its body is at `at`."""
        body = bytes(held[at:stop])
        if kind == _CLIENT_HELLO and self._client_hello is None:
            self._client_hello = body
        elif kind == _SERVER_HELLO and self._server_hello is None:
            self._server_hello = body
        elif kind == _CERTIFICATE and self._certificate is None:
            self._certificate = body

    def _count(self, part: int, octets: int) -> None:
        self._counts[part] += octets + self._uncounted
        self._uncounted = 0
