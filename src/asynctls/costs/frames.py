"""What the two ends can say of encrypted records: which frame or HTTP message each one carried.

AES-GCM adds as many bytes to each record (RFC 5288), so a record's length is its plaintext's; and
one end's view of the plaintext, of which this reads no more than the shapes, names what went by.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from asynctls.costs.report import Group
from asynctls.errors import SessionError
from asynctls.session.shape import HEAD_MOST, MORE, RECEIPT_WANTED, TRAILER_BYTES, read_head
from asynctls.session.states import FrameType
from asynctls.tls.messages import GCM_OCTETS, RECORD_HEADER_OCTETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asynctls.http import Request, Response

__all__ = [
    "RECORD_OVERHEAD",
    "Exchanges",
    "Frame",
    "Frames",
    "Overhearing",
    "Plain",
    "Told",
    "View",
]

RECORD_OVERHEAD = RECORD_HEADER_OCTETS + GCM_OCTETS
"""What a record of application data has beside its plaintext."""

_KEY_ID_DIGITS, _SHOWN = 40, 8
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
        plaintext = octets - RECORD_OVERHEAD
        yield Told("application data", Group.MESSAGES, octets, 1, plaintext)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame by its shape; what it says is not kept."""

    kind: FrameType
    flags: int
    sequence: int
    payload: int
    size: int


class Overhearing:
    """Takes one direction's plaintext as it comes, and keeps the shapes of its frames alone.

    Attributes:
        frames: those whose head has come.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._head = b""
        self._skipped = 0
        self._lost = False

    def take(self, plaintext: bytes) -> None:
        """The next bytes of the direction; what is no frame ends it, for the session to judge."""
        at = 0
        while at < len(plaintext) and not self._lost:
            if self._skipped:
                step = min(self._skipped, len(plaintext) - at)
                self._skipped -= step
                at += step
                continue
            head = self._head + plaintext[at : at + HEAD_MOST]
            try:
                read = read_head(head)
            except SessionError:
                self._lost = True
                return
            if read is None:
                self._head = head
                return
            kind, sequence, payload_at, payload = read
            size = payload_at + payload + TRAILER_BYTES
            self.frames.append(Frame(FrameType(kind >> 8), kind & 0xFF, sequence, payload, size))
            self._skipped, self._head = size - len(self._head), b""


class Frames:
    """The frames of a session, as a client saw both directions of them."""

    def __init__(self, *, sent: Iterable[Frame], received: Iterable[Frame]) -> None:
        self._left = {True: deque(sent), False: deque(received)}
        self._taken = {True: 0, False: 0}

    def record(self, octets: int, *, by_client: bool) -> Iterator[Told]:
        """See `View`. A frame takes a record or several; several frames may share a record."""
        frames, overhead = self._left[by_client], RECORD_OVERHEAD
        left = octets - overhead
        while left and frames:
            frame, taken = frames[0], self._taken[by_client]
            step = min(left, frame.size - taken)
            yield _told(frame, overhead + step, records=1 if overhead else 0, continues=taken > 0)
            left -= step
            overhead = 0
            self._taken[by_client] = taken + step
            if taken + step == frame.size:
                frames.popleft()
                self._taken[by_client] = 0
        if left or overhead:
            # Nobody read it: what comes after an end by ERROR, say.
            yield Told("application data", Group.CLOSE, overhead + left, 1 if overhead else 0, 0)


def _told(frame: Frame, octets: int, *, records: int, continues: bool) -> Told:
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
    payload = frame.payload if frame.kind is FrameType.DATA and not continues else 0
    return Told(frame.kind.name, group, octets, records, payload, fields, continues)


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
        whole = request.path.rpartition("/.well-known/est")[2]
        path = _short(whole)
        name = f"{request.method} {path}" if by_client else f"{response.status} {path}"
        body = request.body if by_client else response.body
        fields = {} if path == whole else {"path": whole}
        if body:
            fields["body"] = f"{len(body)} bytes"
        kind = (request if by_client else response).header("Content-Type")
        if kind:
            fields["type"] = kind
        group = _group_of(path, by_client=by_client)
        payload = 0 if continues else len(body)
        yield Told(name, group, octets, 1, payload, fields, continues)


def _short(path: str) -> str:
    """With a key's identifier cut as people cut it."""
    before, _, last = path.rpartition("/")
    return f"{before}/{last}" if len(last) < _KEY_ID_DIGITS else f"{before}/{last[:_SHOWN]}…"


def _group_of(path: str, *, by_client: bool) -> Group:
    match path:
        case "/simpleenroll" | "/simplereenroll":
            return Group.CSR if by_client else Group.CERTIFICATE
        case "/cacerts":
            return Group.CA_CHAIN
        case _:
            return Group.CRLS
