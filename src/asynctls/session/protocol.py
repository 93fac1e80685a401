"""One end of a session as a pure object: both directions, their states, and what is owed.

Bytes in by `Protocol.receive_data`, events out by `Protocol.next_event`, frames to put on the
wire by `Protocol.frames_to_send`; the same object serves client and server, and knows no socket
and no clock. Which frame may stand where is states.TABLE's business, for what is sent as for what
is received. docs/session-protocol.md is the specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from asynctls.errors import (
    BindingMismatchError,
    ErrorCode,
    MalformedError,
    MessageTooLargeError,
    SessionClosedError,
    SessionError,
    SessionRefusedError,
    SessionTruncatedError,
)
from asynctls.mac import Secret
from asynctls.session.frames import Close, Data, Error, Frame, GoAway, Key, Ready, Receipt
from asynctls.session.keys import Keys, derive
from asynctls.session.opener import Opener
from asynctls.session.sealer import Sealer
from asynctls.session.shape import MAX_PAYLOAD
from asynctls.session.states import TABLE, FrameType, Role, State, Step
from asynctls.session.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["Delivered", "Ended", "Event", "GoesAway", "Opened", "Protocol"]

# A member of an Enum is looked up by its class each time, and these are wanted for each message.
_DATA: Final = FrameType.DATA
_PIECE: Final = Step.PIECE
_MESSAGE: Final = Step.MESSAGE
_START: Final = State.START
_CLOSED: Final = State.CLOSED


class Opened(msgspec.Struct, frozen=True):
    """The session stands: both ends have shown that they hold the keys."""


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """The other application has taken the message whose last frame had ``sequence``."""

    sequence: int


class Ended(msgspec.Struct, frozen=True):
    """The peer's direction has ended by its CLOSE."""


class GoesAway(msgspec.Struct, frozen=True):
    """The server drains."""


Event = Opened | Data | Delivered | Ended | GoesAway
"""What has happened; a message is its last frame, with all of its payload."""


class Protocol:
    """One end of a session.

    ``binding`` is keys.binding's, ``max_message_bytes`` the largest message that this end takes;
    a client's ``secret`` is random unless given. A client's KEY is ready to be sent at once, a
    server waits for it. After an error the object is dead: it says the same again. ``tally`` counts
    what went through.
    """

    def __init__(
        self, role: Role, binding: bytes, *, max_message_bytes: int, secret: Secret | None = None
    ) -> None:
        self.role = role
        self.max_message_bytes = max_message_bytes
        self.peer_max_message_bytes = 0
        self.tally = Tally()
        self._may_send = TABLE[role]
        self._may_receive = TABLE[role.other]
        self._sending = State.START
        self._receiving = State.START
        self._message = bytearray()
        self._taking = True
        self._owed: set[int] = set()
        self._awaited: set[int] = set()
        self._to_send: list[tuple[FrameType, bytes]] = []
        self._failure: SessionError | None = None
        self._sealer: Sealer | None = None
        self._derived: Keys | None = None
        self._binding = binding
        if role is Role.SERVER:
            self._opener = Opener(Role.CLIENT, self._derive)
            return
        secret = secret or Secret.random()
        keys = derive(secret, binding)
        self._opener = Opener(Role.SERVER, keys.server)
        self._sealer = Sealer(Role.CLIENT, keys.client)
        self._advance_sending(Step.KEY)
        self._queue(FrameType.KEY, self._sealer.key(secret, max_message_bytes=max_message_bytes))

    @property
    def opened(self) -> bool:
        """Whether both ends have shown that they hold the keys."""
        return State.START not in (self._sending, self._receiving)

    @property
    def sending(self) -> State:
        """Where our direction stands."""
        return self._sending

    @property
    def receiving(self) -> State:
        """Where the peer's direction stands."""
        return self._receiving

    @property
    def over(self) -> bool:
        """Whether both CLOSEs are through, and every receipt that was asked for."""
        return (
            self._sending is _CLOSED
            and self._receiving is _CLOSED
            and not self._owed
            and not self._awaited
        )

    @property
    def failure(self) -> SessionError | None:
        """What the session ended by, if not by CLOSE."""
        return self._failure

    @property
    def receipts_awaited(self) -> Collection[int]:
        """The sequence numbers of the messages whose receipt has not come yet."""
        return self._awaited

    @property
    def frames_received(self) -> int:
        """How many frames of the peer were verified."""
        return self._opener.sequence

    @property
    def mac_ns(self) -> int:
        """Nanoseconds spent in HMAC over frames so far."""
        return self._opener.mac_ns + (self._sealer.mac_ns if self._sealer else 0)

    def frames_to_send(self) -> list[tuple[FrameType, bytes]]:
        """The frames that are due on the wire, in order, each with its type."""
        to_send, self._to_send = self._to_send, []
        return to_send

    def send_message(self, message: bytes, *, receipt_wanted: bool) -> Iterator[int]:
        """Seals one piece of ``message`` at each step and gives its sequence number.

        Once begun it must be taken to its end: until then nothing but receipts, GOAWAY and ERROR
        may be sent.

        Raises:
            MessageTooLargeError: the peer takes no message as large as this; nothing was sealed.
            SessionClosedError: our direction has ended, or the session is not open yet.
        """
        self._check_size(len(message))
        view = memoryview(message)
        last_at = max(len(message) - 1, 0) // MAX_PAYLOAD * MAX_PAYLOAD
        for at in range(0, last_at, MAX_PAYLOAD):
            sealer = self._advance_sending(_PIECE)
            self._queue(_DATA, sealer.data(view[at : at + MAX_PAYLOAD], more=True))
            yield sealer.sequence - 1
        sequence = self.send_small(view[last_at:], receipt_wanted=receipt_wanted)
        self.tally.bytes_sent += last_at
        yield sequence

    def send_small(self, message: bytes | memoryview, *, receipt_wanted: bool) -> int:
        """As `send_message`, in one frame: for a message of `MAX_PAYLOAD` bytes at the most."""
        size = len(message)
        if size > self.peer_max_message_bytes:
            self._check_size(size)
        sealer = self._advance_sending(_MESSAGE)
        sequence = sealer.sequence
        if receipt_wanted:
            self._awaited.add(sequence)
        self._to_send.append((_DATA, sealer.data(message, receipt_wanted=receipt_wanted)))
        tally = self.tally
        tally.messages_sent += 1
        tally.bytes_sent += size
        return sequence

    def _check_size(self, size: int) -> None:
        if self._failure is None and size > self.peer_max_message_bytes and self.opened:
            raise MessageTooLargeError(
                f"a message of {size} bytes: the peer takes {self.peer_max_message_bytes} at most"
            )

    def send_receipt(self, message_sequence: int) -> None:
        """Says that the application has taken the message; once for each that asked."""
        self._owed.remove(message_sequence)
        sealer = self._advance_sending(Step.RECEIPT)
        self._queue(FrameType.RECEIPT, sealer.receipt(message_sequence))
        self.tally.receipts_sent += 1

    def owe_nothing(self) -> None:
        """The application takes no more: receipts that are owed, or would be, are not sent."""
        self._taking = False
        self._owed.clear()

    def send_close(self) -> None:
        """Ends our direction; the peer's may go on."""
        self._queue(FrameType.CLOSE, self._advance_sending(Step.CLOSE).close())

    def send_goaway(self) -> None:
        """A server's word that it drains; after our CLOSE it would say nothing and is not sent."""
        if self._sending is not State.CLOSED:
            self._queue(FrameType.GOAWAY, self._advance_sending(Step.GOAWAY).goaway())

    def end(self, code: ErrorCode, text: str) -> None:
        """Ends the session by our ERROR; afterwards it is dead."""
        failure = SessionClosedError(f"this end has ended the session: {text}", told=code)
        self._fail(failure, code, text)

    def receive_data(self, data: bytes) -> None:
        """Takes bytes as they came from the channel."""
        self._opener.receive_data(data)

    def receive_eof(self, lost: str = "") -> None:
        """The channel has ended.

        Args:
            lost: by what, in words, where it did not just end.

        Raises:
            SessionTruncatedError: before both CLOSEs and all receipts were through.
            BindingMismatchError: a server that ended without an answer to KEY.
        """
        if self._failure is not None:
            raise self._failure
        if self.over and not self._opener.buffered_bytes:
            return
        failure = self._truncation(f" ({lost})" if lost else "")
        self._fail(failure, None, "")
        raise failure

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed.

        Raises:
            SessionError: the session has ended, and by what; if it was the peer's fault and the
                peer can be told, an ERROR is due on the wire.
        """
        if self._failure is not None:
            raise self._failure
        next_frame = self._opener.next_frame
        try:
            while (frame := next_frame()) is not None:
                event = self._take_data(frame) if isinstance(frame, Data) else self._take(frame)
                if event is not None:
                    return event
        except SessionError as failure:
            self._fail(failure, failure.code, str(failure))
            raise
        return None

    def _misplaced(self, frame: Frame) -> MalformedError:
        return MalformedError(
            f"{frame} may not stand here: "
            f"the {self.role.other.value}'s direction is {self._receiving.value!r}"
        )

    def _take(self, frame: Frame) -> Event | None:
        state = self._may_receive[self._receiving].get(frame.step)
        if state is None:
            raise self._misplaced(frame)
        self._receiving = state
        match frame:
            case Receipt(message_sequence=sequence):
                if sequence not in self._awaited:
                    raise MalformedError(f"{frame}: no receipt is due for that")
                self._awaited.remove(sequence)
                self.tally.receipts_received += 1
                return Delivered(sequence)
            case Close():
                return Ended()
            case GoAway():
                return GoesAway()
            case Error(code=code, text=text):
                raise SessionRefusedError(
                    f"the peer has ended the session: {_words(code)}: {text}", error_code=code
                )
            case Key(max_message_bytes=most):
                self._answer_key()
            case Ready(max_message_bytes=most):
                pass
        self.peer_max_message_bytes = most
        return Opened()

    def _take_data(self, frame: Data) -> Data | None:
        state = self._may_receive[self._receiving].get(_PIECE if frame.more else _MESSAGE)
        if state is None:
            raise self._misplaced(frame)
        self._receiving = state
        size = len(self._message) + len(frame.payload)
        if size > self.max_message_bytes:
            raise MessageTooLargeError(
                f"a message of {size} bytes or more: {self.max_message_bytes} are taken at most"
            )
        if frame.more:
            self._message += frame.payload
            return None
        if self._message:
            whole = bytes(self._message + frame.payload)
            frame = Data(frame.sequence, whole, receipt_wanted=frame.receipt_wanted)
            self._message = bytearray()
        if frame.receipt_wanted and self._taking:
            self._owed.add(frame.sequence)
        tally = self.tally
        tally.messages_received += 1
        tally.bytes_received += size
        return frame

    def _derive(self, secret: Secret) -> Secret:
        self._derived = derive(secret, self._binding)
        return self._derived.client

    def _answer_key(self) -> None:
        # Only now is it known that the client made KEY, and so that our key is the client's too.
        if self._derived is not None:
            self._sealer = Sealer(Role.SERVER, self._derived.server)
            self._derived = None
        ready = self._advance_sending(Step.READY).ready(max_message_bytes=self.max_message_bytes)
        self._queue(FrameType.READY, ready)

    def _advance_sending(self, step: Step) -> Sealer:
        if self._failure is not None:
            raise self._failure
        state = self._may_send[self._sending].get(step)
        sealer = self._sealer
        if state is None or sealer is None or self._too_early(step):
            raise SessionClosedError(
                f"{step.value} cannot be sent: our direction is {self._sending.value!r}"
            )
        self._sending = state
        return sealer

    def _too_early(self, step: Step) -> bool:
        # A client says nothing of its own before READY: who would read it is not confirmed yet.
        return self._receiving is _START and step not in (Step.KEY, Step.ERROR)

    def _queue(self, frame_type: FrameType, frame: bytes) -> None:
        self._to_send.append((frame_type, frame))

    def _truncation(self, lost: str) -> SessionError:
        if self._receiving is State.CLOSED:
            return SessionTruncatedError(
                f"the connection ended before both ends were done{lost}: "
                "what was sent may not have been taken"
            )
        if self._receiving is not State.START:
            where = "within a message" if self._receiving is State.WITHIN else "without CLOSE"
            return SessionTruncatedError(
                f"the connection ended {where}{lost}: what arrived may not be all that was sent"
            )
        if self.role is Role.CLIENT:
            return BindingMismatchError(
                "the server answered KEY with neither READY nor ERROR: the two ends may not see "
                "the same certificates or the same connection; somebody may stand in between"
            )
        return SessionTruncatedError(f"the client ended the connection before KEY{lost}")

    def _fail(self, failure: SessionError, code: ErrorCode | None, text: str) -> None:
        if self._failure is not None:
            return
        step = self._may_send[self._sending].get(Step.ERROR)
        if code is not None and step is not None and self._sealer is not None:
            self._sending = step
            self._queue(FrameType.ERROR, self._sealer.error(code, text))
        self._failure = failure
        self._message = bytearray()


def _words(code: int) -> str:
    if code in ErrorCode.__members__.values():
        return ErrorCode(code).name.lower().replace("_", " ").replace("crl", "CRL")
    return f"error {code}"
