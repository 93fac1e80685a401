"""A session's end as docs/session-protocol.md tells it, without bytes, keys or table: a reference.

It knows frames as values, and whether somebody with the right key made them. What it hears and says
is what `session.protocol` must hear and say; nothing of that is used here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = ["MOST_PAYLOAD", "Kind", "ModelEnd", "Packet"]

MOST_PAYLOAD: Final = 65_536


class Kind(Enum):
    """What a frame is; its value is its type's name."""

    KEY = "KEY"
    READY = "READY"
    PIECE = "DATA, more"
    MESSAGE = "DATA"
    RECEIPT = "RECEIPT"
    CLOSE = "CLOSE"
    ERROR = "ERROR"
    GOAWAY = "GOAWAY"


CODES: Final = {"Malformed": 1, "Forged": 2, "Replayed": 3, "Missing": 4, "MessageTooLarge": 5}


@dataclass(frozen=True)
class Packet:
    """A frame on its way.

    Attributes:
        by_client: whose key made it.
        kind: what it is.
        number: its sequence number.
        payload: of DATA.
        receipt_wanted: of DATA.
        about: what message a RECEIPT is for; an ERROR's code; the largest message of KEY, READY.
        foreign: another session's keys made it.
    """

    by_client: bool
    kind: Kind
    number: int
    payload: bytes = b""
    receipt_wanted: bool = False
    about: int = 0
    foreign: bool = False


@dataclass
class ModelEnd:
    """One end: what it has said and heard, and what it says next.

    Attributes:
        is_client: which one.
        most: the largest message that it takes.
        dead: the error that ended it, by the start of its name.
        outbox: what it has said and nobody has carried yet.
        owed: receipts that its application has still to give.
        awaited: receipts that have not come.
    """

    is_client: bool
    most: int
    dead: str = ""
    outbox: list[Packet] = field(default_factory=list)
    owed: set[int] = field(default_factory=set)
    awaited: set[int] = field(default_factory=set)
    said: int = 0
    heard: int = 0
    peer_most: int = 0
    within: bool = False
    closed: bool = False
    told_error: bool = False
    peer_parts: list[bytes] | None = None
    peer_closed: bool = False

    def __post_init__(self) -> None:
        if self.is_client:
            self._say(Kind.KEY, about=self.most)

    @property
    def opened(self) -> bool:
        """Both ends have spoken, and each was understood."""
        return bool(self.said and self.heard)

    @property
    def over(self) -> bool:
        """All is said, and all is acknowledged."""
        return self.closed and self.peer_closed and not self.owed and not self.awaited

    # What it says

    def refuses_to_say(self, kind: Kind, size: int = 0) -> str:
        """Why its application may not have that said now: an error's name, or nothing."""
        if self.dead:
            return self.dead
        if kind in (Kind.MESSAGE, Kind.PIECE) and self.opened and size > self.peer_most:
            return "MessageTooLarge"
        allowed = (
            self.opened
            and {
                Kind.MESSAGE: not self.closed,
                Kind.PIECE: not self.closed,
                Kind.CLOSE: not self.closed and not self.within,
                Kind.GOAWAY: not self.is_client and not self.closed,
                Kind.RECEIPT: True,
            }[kind]
        )
        return "" if allowed else "SessionClosed"

    def say_data(self, payload: bytes, *, more: bool, receipt_wanted: bool) -> None:
        """A piece, or a message's end."""
        number = self._say(
            Kind.PIECE if more else Kind.MESSAGE,
            payload=payload,
            receipt_wanted=receipt_wanted and not more,
        )
        self.within = more
        if receipt_wanted and not more:
            self.awaited.add(number)

    def say_receipt(self, about: int) -> None:
        """The application has taken a message."""
        self.owed.remove(about)
        self._say(Kind.RECEIPT, about=about)

    def say_close(self) -> None:
        """Nothing more will come of it."""
        self.closed = True
        self._say(Kind.CLOSE)

    def say_goaway(self) -> None:
        """It drains."""
        self._say(Kind.GOAWAY)

    def say_error(self, code: int) -> None:
        """Its application ends the session."""
        if not self.dead:
            self.die("SessionClosed", code)

    def die(self, error: str, code: int = 0) -> None:
        """It takes nothing more, and tells its peer why if it can."""
        self.dead = error
        knows_the_key = self.is_client or self.heard > 0
        if code and knows_the_key and not self.told_error:
            self._say(Kind.ERROR, about=code)
            self.told_error = True

    def _say(
        self, kind: Kind, *, payload: bytes = b"", receipt_wanted: bool = False, about: int = 0
    ) -> int:
        number = self.said
        self.said += 1
        self.outbox.append(Packet(self.is_client, kind, number, payload, receipt_wanted, about))
        return number

    # What it hears

    def hear(self, packet: Packet) -> tuple[object, ...] | None:
        """What its application is told of a frame, if anything; perhaps it dies of it."""
        if self.dead:
            return None
        fault = self._fault(packet)
        if fault:
            self.die(fault, CODES.get(fault, 0))
            return None
        self.heard += 1
        if not self._may_stand(packet):
            self.die("Malformed", CODES["Malformed"])
            return None
        return self._take(packet)

    def end(self) -> None:
        """The connection has ended."""
        if self.dead:
            return
        if not self.over:
            unanswered = self.is_client and not self.heard
            self.die("BindingMismatch" if unanswered else "SessionTruncated")

    def _fault(self, packet: Packet) -> str:
        if not self.is_client and not self.heard:
            if packet.kind is not Kind.KEY or packet.number:
                return "Malformed"
            return "BindingMismatch" if packet.foreign else ""
        if packet.foreign or packet.by_client is self.is_client:
            return "Forged"
        if packet.number < self.heard:
            return "Replayed"
        return "Missing" if packet.number > self.heard else ""

    def _may_stand(self, packet: Packet) -> bool:
        first = self.heard == 1
        match packet.kind:
            case Kind.KEY:
                return first and packet.by_client
            case Kind.READY:
                return first and not packet.by_client
            case Kind.ERROR:
                return not first or not packet.by_client
            case Kind.RECEIPT:
                return not first and packet.about in self.awaited
            case Kind.GOAWAY:
                return not first and not packet.by_client and not self.peer_closed
            case Kind.CLOSE:
                return not first and not self.peer_closed and self.peer_parts is None
        return not first and not self.peer_closed

    def _take(self, packet: Packet) -> tuple[object, ...] | None:
        match packet.kind:
            case Kind.KEY | Kind.READY:
                self.peer_most = packet.about
                if packet.kind is Kind.KEY:
                    self._say(Kind.READY, about=self.most)
                return ("Opened",)
            case Kind.PIECE | Kind.MESSAGE:
                return self._take_data(packet)
            case Kind.RECEIPT:
                self.awaited.remove(packet.about)
                return ("Delivered", packet.about)
            case Kind.CLOSE:
                self.peer_closed = True
                return ("Ended",)
            case Kind.GOAWAY:
                return ("GoesAway",)
        self.die("SessionRefused")
        return None

    def _take_data(self, packet: Packet) -> tuple[object, ...] | None:
        parts = [*(self.peer_parts or ()), packet.payload]
        if sum(map(len, parts)) > self.most:
            self.die("MessageTooLarge", CODES["MessageTooLarge"])
            return None
        if packet.kind is Kind.PIECE:
            self.peer_parts = parts
            return None
        self.peer_parts = None
        if packet.receipt_wanted:
            self.owed.add(packet.number)
        return ("Message", b"".join(parts), packet.number, packet.receipt_wanted)
