"""Two ends, the network between them in an attacker's hands, and the model of each beside it.

Whatever is done, each end must have heard and said what its model did. The attacker drops, repeats,
swaps, reflects and changes frames, and has recorded another session; an insider has the keys, and
puts frames on the wire that no end would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from asynctls.errors import ErrorCode, SessionError
from asynctls.mac import Secret
from asynctls.session.frames import Data
from asynctls.session.keys import Keys, derive
from asynctls.session.protocol import Delivered, Event, Protocol
from asynctls.session.sealer import Sealer
from asynctls.session.states import Role
from tests.session.model import MOST_PAYLOAD, Kind, ModelEnd, Packet

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SIZES", "Arena"]

SIZES: Final = (0, 1, 40, 41, 34_464, 34_465, MOST_PAYLOAD, MOST_PAYLOAD + 1, 100_000, 100_001)
_MOST: Final = {Role.CLIENT: 100_000, Role.SERVER: 40}
_BINDING: Final = b"b" * 32
_SECRET: Final = Secret(b"s" * 32)
_KEYS: Final = derive(_SECRET, _BINDING)
_OTHER_SECRET: Final = Secret(b"o" * 32)
_OTHER_KEYS: Final = derive(_OTHER_SECRET, b"another connection's binding")
_OF_CHANGED_BYTES: Final = ("Malformed", "MessageTooLarge", "Forged", "BindingMismatch")


@dataclass
class _End:
    """An end, its model, and what it has sent.

    Attributes:
        wire: what it sent and nobody took off the wire yet, each with what it is.
        sent: all that it ever sent.
        message: one that it has begun.
        deaf: it was given bytes that nobody made: it hears nothing more, whatever it thinks.
        ended: the connection, as it sees it.
    """

    real: Protocol
    model: ModelEnd
    wire: list[tuple[Packet, bytes]] = field(default_factory=list)
    sent: list[tuple[Packet, bytes]] = field(default_factory=list)
    message: Iterator[int] | None = None
    left: bytes = b""
    receipt_wanted: bool = False
    deaf: bool = False
    ended: bool = False


class Arena:
    """A session from its first frame on; each method is one thing that somebody does."""

    def __init__(self) -> None:
        self._ends = {
            role: _End(
                Protocol(
                    role,
                    _BINDING,
                    max_message_bytes=_MOST[role],
                    secret=_SECRET if role is Role.CLIENT else None,
                ),
                ModelEnd(role is Role.CLIENT, _MOST[role]),
            )
            for role in Role
        }
        self.check()

    def check(self) -> None:
        """Holds both ends against their models."""
        for end in self._ends.values():
            frames = end.real.frames_to_send()
            packets, end.model.outbox = end.model.outbox, []
            said = [kind.name for kind, _ in frames]
            assert said == [packet.kind.value.partition(",")[0] for packet in packets]
            made = [(packet, octets) for packet, (_, octets) in zip(packets, frames, strict=True)]
            end.wire += made
            end.sent += made
            failure = end.real.failure
            assert _name(failure) == end.model.dead
            assert end.real.receipts_awaited == end.model.awaited
            assert end.real._owed == end.model.owed
            assert end.real.frames_received == end.model.heard
            if not end.model.dead:
                assert end.real.opened == end.model.opened
                assert end.real.over == end.model.over
            assert len(end.real._message) <= end.real.max_message_bytes

    def is_over(self, role: Role) -> bool:
        """Whether all was said and heard there."""
        return self._ends[role].model.over and not self._ends[role].model.dead

    # What applications do

    def send(self, role: Role, size: int, *, receipt_wanted: bool) -> None:
        """A whole message."""
        self.begin(role, size, receipt_wanted=receipt_wanted)
        while self._ends[role].message is not None:
            self.go_on(role)

    def begin(self, role: Role, size: int, *, receipt_wanted: bool) -> None:
        """A message's first piece, unless one is under way."""
        end = self._ends[role]
        if end.message is not None:
            return
        message = bytes(size)
        end.message = end.real.send_message(message, receipt_wanted=receipt_wanted)
        end.left, end.receipt_wanted = message, receipt_wanted
        self.go_on(role)

    def go_on(self, role: Role) -> None:
        """The next piece of what was begun."""
        end = self._ends[role]
        if end.message is None:
            return
        size = 0 if end.model.within else len(end.left)
        refused = end.model.refuses_to_say(Kind.MESSAGE, size)
        try:
            sequence = next(end.message)
        except SessionError as error:
            assert _name(error) == refused
            end.message = None
            return
        assert not refused
        piece, end.left = end.left[:MOST_PAYLOAD], end.left[MOST_PAYLOAD:]
        assert sequence == end.model.said
        end.model.say_data(piece, more=bool(end.left), receipt_wanted=end.receipt_wanted)
        if not end.left:
            assert list(end.message) == []
            end.message = None
        self.check()

    def take(self, role: Role) -> None:
        """The application takes a message that asked for a receipt."""
        end = self._ends[role]
        if not end.model.owed:
            return
        about = min(end.model.owed)
        refused = end.model.refuses_to_say(Kind.RECEIPT)
        try:
            end.real.send_receipt(about)
        except SessionError as error:
            assert _name(error) == refused
            # It is owed no more: who would be told?
            end.model.owed.remove(about)
            return
        assert not refused
        end.model.say_receipt(about)
        self.check()

    def close(self, role: Role) -> None:
        """It says CLOSE, or is not allowed to."""
        end = self._ends[role]
        refused = end.model.refuses_to_say(Kind.CLOSE)
        try:
            end.real.send_close()
        except SessionError as error:
            assert _name(error) == refused
            return
        assert not refused
        end.model.say_close()
        self.check()

    def go_away(self, role: Role) -> None:
        """It says GOAWAY, or is not allowed to."""
        end = self._ends[role]
        if end.model.closed:
            return
        refused = end.model.refuses_to_say(Kind.GOAWAY)
        try:
            end.real.send_goaway()
        except SessionError as error:
            assert _name(error) == refused
            return
        assert not refused
        end.model.say_goaway()
        self.check()

    def fail(self, role: Role) -> None:
        """Its application ends the session by an ERROR."""
        end = self._ends[role]
        end.real.end(ErrorCode.INTERNAL, "failed")
        end.model.say_error(ErrorCode.INTERNAL)
        self.check()

    # What the network does

    def deliver(self, role: Role, cut_at: int = 0) -> None:
        """The oldest frame of ``role`` on the wire arrives, in two pieces."""
        wire = self._ends[role].wire
        if wire:
            self._arrive(role.other, *wire.pop(0), cut_at)

    def end_connection(self, role: Role) -> None:
        """``role`` sees the connection's end."""
        end = self._ends[role]
        if end.ended or end.deaf:
            return
        end.ended = True
        end.model.end()
        try:
            end.real.receive_eof()
        except SessionError as error:
            assert _name(error) == end.model.dead
        else:
            assert end.model.over
        self.check()

    # What the attacker does

    def drop(self, role: Role) -> None:
        """A frame of ``role`` never arrives."""
        del self._ends[role].wire[:1]

    def swap(self, role: Role) -> None:
        """The two oldest frames of ``role`` on the wire change places."""
        wire = self._ends[role].wire
        wire[:2] = reversed(wire[:2])

    def repeat(self, role: Role, which: int) -> None:
        """A frame that ``role`` sent before comes again."""
        sent = self._ends[role].sent
        if sent:
            self._arrive(role.other, *sent[which % len(sent)])

    def reflect(self, role: Role, which: int) -> None:
        """A frame that ``role`` sent comes back to it."""
        sent = self._ends[role].sent
        if sent:
            self._arrive(role, *sent[which % len(sent)])

    def change(self, role: Role, at: int, bit: int) -> None:
        """A bit of the oldest frame of ``role`` on the wire is another one when it arrives."""
        wire = self._ends[role].wire
        if not wire:
            return
        _, octets = wire.pop(0)
        changed = bytearray(octets)
        changed[at % len(changed)] ^= 1 << bit % 8
        self._hear_noise(role.other, bytes(changed))

    def bring_from_another_session(self, role: Role, kind: Kind) -> None:
        """A frame of ``role`` of a session between the same two on another connection."""
        due = self._ends[role.other].model.heard
        packet = Packet(role is Role.CLIENT, kind, due, b"foreign", about=1, foreign=True)
        self._arrive(role.other, packet, _sealed(packet, _OTHER_KEYS, _OTHER_SECRET))

    def put_in(self, role: Role, kind: Kind, size: int, about: int) -> None:
        """Somebody with the keys of ``role`` makes the frame that is due, of any kind."""
        due = self._ends[role.other].model.heard
        payload = bytes(min(size, MOST_PAYLOAD))
        packet = Packet(role is Role.CLIENT, kind, due, payload or b"x", about=about)
        self._arrive(role.other, packet, _sealed(packet, _KEYS, _SECRET))

    # How it arrives

    def _arrive(self, role: Role, packet: Packet, octets: bytes, cut_at: int = 0) -> None:
        end = self._ends[role]
        if end.ended:
            return
        if end.deaf:
            self._hear_noise(role, octets)
            return
        dead = end.model.dead
        cut_at %= len(octets)
        assert self._heard(role, octets[:cut_at]) == []
        wanted = end.model.hear(packet)
        assert self._heard(role, octets[cut_at:]) == ([] if wanted is None else [wanted])
        assert not dead or end.model.dead == dead
        self.check()

    def _hear_noise(self, role: Role, octets: bytes) -> None:
        """Of bytes that nobody made nothing is heard, and nothing of what comes behind them."""
        end = self._ends[role]
        if end.ended:
            return
        assert self._heard(role, octets) == []
        if end.real.failure is not None and not end.model.dead:
            error = end.real.failure
            assert _name(error) in _OF_CHANGED_BYTES
            end.model.die(_name(error), error.code or 0)
        end.deaf = True
        self.check()

    def _heard(self, role: Role, octets: bytes) -> list[tuple[object, ...]]:
        real = self._ends[role].real
        events = []
        try:
            real.receive_data(octets)
            while (event := real.next_event()) is not None:
                events.append(_told(event))
        except SessionError as error:
            assert error is real.failure
        return events


def _name(error: SessionError | None) -> str:
    return "" if error is None else type(error).__name__.removesuffix("Error")


def _told(event: Event) -> tuple[object, ...]:
    match event:
        case Data(sequence, content, False, receipt_wanted):
            return ("Message", content, sequence, receipt_wanted)
        case Delivered(sequence):
            return ("Delivered", sequence)
    return (type(event).__name__,)


def _sealed(packet: Packet, keys: Keys, secret: Secret) -> bytes:
    role = Role.CLIENT if packet.by_client else Role.SERVER
    sealer = Sealer(role, keys.client if packet.by_client else keys.server, sequence=packet.number)
    match packet.kind:
        case Kind.KEY:
            return sealer.key(secret, max_message_bytes=packet.about)
        case Kind.READY:
            return sealer.ready(max_message_bytes=packet.about)
        case Kind.RECEIPT:
            return sealer.receipt(packet.about)
        case Kind.CLOSE:
            return sealer.close()
        case Kind.GOAWAY:
            return sealer.goaway()
        case Kind.ERROR:
            return sealer.error(packet.about, "words")
    return sealer.data(packet.payload, more=packet.kind is Kind.PIECE)
