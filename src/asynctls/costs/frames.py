"""What the two ends can say of encrypted records: which frame or HTTP message each one carried.

AES-GCM adds as many bytes to each record (RFC 5288), so a record's length is its plaintext's; and
one end's view of the plaintext, of which this reads no more than the shapes, names what went by.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from asynctls.costs.report import Group
from asynctls.session.shape import MORE, RECEIPT_WANTED, TRAILER_BYTES, read_head
from asynctls.session.states import FrameType
from asynctls.tls.messages import GCM_OCTETS, RECORD_HEADER_OCTETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asynctls.http import Request, Response

__all__ = ["Exchanges", "Frames", "Plain", "Told", "View"]

_RECORD_OVERHEAD = RECORD_HEADER_OCTETS + GCM_OCTETS
_MOST_HEAD_OCTETS = 32
_GROUPS = {
    FrameType.KEY: Group.SHARED_SECRET,
    FrameType.READY: Group.SHARED_SECRET,
    FrameType.DATA: Group.MESSAGES,
    FrameType.RECEIPT: Group.RECEIPTS,
}


@dataclass(frozen=True, slots=True)
class Told:
    """What an encrypted record, or several, carried.

    Attributes:
        name: of the frame or the HTTP message.
        group: what it is for.
        octets: of the records, their headers included.
        records: how many.
        payload: the bytes that somebody wanted to say.
        fields: for people.
        continues: these records go on with what the last ones from there began.
    """

    name: str
    group: Group
    octets: int
    records: int
    payload: int
    fields: Mapping[str, str] = field(default_factory=dict)
    continues: bool = False


class View(Protocol):
    """One end's view of a connection."""

    def record(self, octets: int, *, by_client: bool) -> Iterator[Told]:
        """What is whole with the next record of application data; `octets` with its header."""


class Plain:
    """A stream of bytes: each record is a message of its own."""

    def record(self, octets: int, *, by_client: bool) -> Iterator[Told]:
        """See `View`."""
        del by_client
        plaintext = octets - _RECORD_OVERHEAD
        yield Told("application data", Group.MESSAGES, octets, 1, plaintext)


@dataclass(frozen=True, slots=True)
class _Frame:
    kind: FrameType
    flags: int
    sequence: int
    payload: int
    size: int


class Frames:
    """The frames of a session, out of the plaintext of both directions as a client saw it."""

    def __init__(self, *, sent: bytes, received: bytes) -> None:
        self._directions = {True: _Direction(sent), False: _Direction(received)}

    def record(self, octets: int, *, by_client: bool) -> Iterator[Told]:
        """See `View`."""
        yield from self._directions[by_client].record(octets)


class _Direction:
    """A frame takes a record or several; several frames may share a record."""

    def __init__(self, plaintext: bytes) -> None:
        self._frames = deque(_frames_of(plaintext))
        self._taken = 0
        self._octets = 0
        self._records = 0

    def record(self, octets: int) -> Iterator[Told]:
        left = octets - _RECORD_OVERHEAD
        self._octets += _RECORD_OVERHEAD
        self._records += 1
        while left and self._frames:
            frame = self._frames[0]
            step = min(left, frame.size - self._taken)
            left -= step
            self._taken += step
            self._octets += step
            if self._taken < frame.size:
                return
            self._frames.popleft()
            yield self._whole(frame)
        if left:
            # Nobody read it: what comes after the end, say.
            self._octets += left
            yield Told("application data", Group.CLOSE, self._octets, self._records, 0)
            self._octets = self._records = 0

    def _whole(self, frame: _Frame) -> Told:
        octets, records = self._octets, self._records
        self._taken = self._octets = self._records = 0
        fields = {
            "sequence": str(frame.sequence),
            "payload": f"{frame.payload} bytes",
            "frame": f"{frame.size} bytes, HMAC-SHA-256 tag of 32 included",
        }
        if frame.flags & RECEIPT_WANTED:
            fields["flags"] = "receipt wanted"
        if frame.flags & MORE:
            fields["flags"] = "more pieces follow"
        group = _GROUPS.get(frame.kind, Group.CLOSE)
        payload = frame.payload if frame.kind is FrameType.DATA else 0
        return Told(frame.kind.name, group, octets, records, payload, fields)


def _frames_of(plaintext: bytes) -> Iterator[_Frame]:
    at = 0
    while at < len(plaintext):
        head = read_head(plaintext[at : at + _MOST_HEAD_OCTETS])
        if head is None:
            return
        kind, sequence, payload_at, payload = head
        size = payload_at + payload + TRAILER_BYTES
        yield _Frame(FrameType(kind >> 8), kind & 0xFF, sequence, payload, size)
        at += size


class Exchanges:
    """Requests and answers one after the other, as EST's are (RFC 7030), out of the TTP's view."""

    def __init__(self, exchanges: Sequence[tuple[Request, Response]]) -> None:
        self._exchanges = exchanges
        self._begun = -1
        self._last_by_client = False

    def record(self, octets: int, *, by_client: bool) -> Iterator[Told]:
        """See `View`."""
        continues = by_client == self._last_by_client and self._begun >= 0
        if by_client and not continues:
            self._begun += 1
        self._last_by_client = by_client
        if not 0 <= self._begun < len(self._exchanges):
            yield Told("application data", Group.CLOSE, octets, 1, 0)
            return
        request, response = self._exchanges[self._begun]
        path = request.path.rpartition("/.well-known/est")[2]
        name = f"{request.method} {path}" if by_client else f"{response.status} {path}"
        body = request.body if by_client else response.body
        fields = {"body": f"{len(body)} bytes"} if body else {}
        kind = (request if by_client else response).header("Content-Type")
        if kind:
            fields["type"] = kind
        group = _group_of(path, by_client=by_client)
        payload = 0 if continues else len(body)
        yield Told(name, group, octets, 1, payload, fields, continues)


def _group_of(path: str, *, by_client: bool) -> Group:
    match path:
        case "/simpleenroll" | "/simplereenroll":
            return Group.CSR if by_client else Group.CERTIFICATE
        case "/cacerts":
            return Group.CA_CHAIN
        case _:
            return Group.CRLS
