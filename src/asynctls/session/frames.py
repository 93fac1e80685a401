"""The frames of asynctls/1: bytes in, frames out, and back; no socket and no state machine.

`Sealer` makes one direction's frames, `Opener` checks and takes them apart; both as
docs/session-protocol.md says (COSE_Mac0 of RFC 9052 in a CBOR sequence, RFC 8742). An opener
checks in this order: the fixed shape and the length against its limit, from the left and before
any of the payload is taken; the tag, in constant time; the sequence. So a sequence error is
always about a frame that somebody with the key really made.
"""

from __future__ import annotations

from hmac import compare_digest, digest
from time import perf_counter_ns
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from asynctls.errors import (
    BindingMismatchError,
    ForgedError,
    MalformedError,
    MissingError,
    ReplayedError,
    SessionClosedError,
    SessionError,
    SessionTruncatedError,
)
from asynctls.mac import Secret
from asynctls.session.keys import SECRET_BYTES
from asynctls.session.shape import (
    EMPTY_MAP,
    FIXED,
    HEAD_MOST,
    MAC_START,
    MAX_ERROR_TEXT,
    MORE,
    NUMBERING,
    RECEIPT_WANTED,
    SEQUENCES,
    SHAPES,
    TAG_HEAD,
    TRAILER_BYTES,
    Shape,
    byte_string_head,
    external_aad,
    read_head,
)
from asynctls.session.states import FrameType, Role, Step

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Close",
    "Data",
    "Error",
    "Frame",
    "GoAway",
    "Key",
    "Opener",
    "Ready",
    "Receipt",
    "Sealer",
]

_join: Final = b"".join
_KEY: Final = FrameType.KEY << 8
_DATA: Final = FrameType.DATA << 8
_FLAGS: Final = MORE | RECEIPT_WANTED
_NO_SHAPE: Final = Shape(1, 0)
_NUMBERED: Final = slice(len(FIXED), len(FIXED) + NUMBERING.size)
_PAYLOAD_HEAD_AT: Final = _NUMBERED.stop + len(EMPTY_MAP)


class Key(msgspec.Struct, frozen=True, gc=False):
    """The client's first frame: the secret, and the largest message (bytes) that it takes."""

    type: ClassVar[FrameType] = FrameType.KEY
    step: ClassVar[Step] = Step.KEY
    sequence: int
    secret: Secret
    max_message_bytes: int

    def __str__(self) -> str:
        return f"KEY #{self.sequence} (takes {self.max_message_bytes} bytes)"


class Ready(msgspec.Struct, frozen=True, gc=False):
    """The server's answer: the largest message (bytes) that it takes; its tag confirms the key."""

    type: ClassVar[FrameType] = FrameType.READY
    step: ClassVar[Step] = Step.READY
    sequence: int
    max_message_bytes: int

    def __str__(self) -> str:
        return f"READY #{self.sequence} (takes {self.max_message_bytes} bytes)"


class Data(msgspec.Struct, frozen=True, gc=False):
    """A message, or a piece of one (``more``); the payload may be private, so no log shows it."""

    type: ClassVar[FrameType] = FrameType.DATA
    sequence: int
    payload: bytes
    more: bool = False
    receipt_wanted: bool = False

    @property
    def step(self) -> Step:
        """A message's end, or not yet."""
        return Step.PIECE if self.more else Step.MESSAGE

    def __str__(self) -> str:
        flags = " more" * self.more + " receipt wanted" * self.receipt_wanted
        return f"DATA #{self.sequence} ({len(self.payload)} bytes{flags})"

    def __repr__(self) -> str:
        return f"<{self}>"


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The other application has taken the message whose last frame had ``message_sequence``."""

    type: ClassVar[FrameType] = FrameType.RECEIPT
    step: ClassVar[Step] = Step.RECEIPT
    sequence: int
    message_sequence: int

    def __str__(self) -> str:
        return f"RECEIPT #{self.sequence} (of #{self.message_sequence})"


class Close(msgspec.Struct, frozen=True, gc=False):
    """The sender's direction ends."""

    type: ClassVar[FrameType] = FrameType.CLOSE
    step: ClassVar[Step] = Step.CLOSE
    sequence: int

    def __str__(self) -> str:
        return f"CLOSE #{self.sequence}"


class Error(msgspec.Struct, frozen=True, gc=False):
    """The session ends. ``text`` is shown to people, with what no terminal should get replaced."""

    type: ClassVar[FrameType] = FrameType.ERROR
    step: ClassVar[Step] = Step.ERROR
    sequence: int
    code: int
    text: str

    def __str__(self) -> str:
        return f"ERROR #{self.sequence} ({self.code}: {self.text})"


class GoAway(msgspec.Struct, frozen=True, gc=False):
    """The server drains: finish, and come back."""

    type: ClassVar[FrameType] = FrameType.GOAWAY
    step: ClassVar[Step] = Step.GOAWAY
    sequence: int

    def __str__(self) -> str:
        return f"GOAWAY #{self.sequence}"


Frame = Key | Ready | Data | Receipt | Close | Error | GoAway


class Sealer:
    """Makes the frames of one direction: numbers them and tags them.

    ``sender`` is the direction, ``key`` the sender's, ``sequence`` the number of the next frame.
    ``mac_ns`` is the time spent in HMAC so far, in nanoseconds.
    """

    __slots__ = ("_external_aad", "_key", "_sequence", "mac_ns")

    def __init__(self, sender: Role, key: Secret, *, sequence: int = 0) -> None:
        self._external_aad = external_aad(sender)
        self._key = key.reveal()
        self._sequence = sequence
        self.mac_ns = 0

    @property
    def sequence(self) -> int:
        """The sequence number of the next frame."""
        return self._sequence

    def key(self, secret: Secret, *, max_message_bytes: int) -> bytes:
        """A KEY frame."""
        return self._seal(_KEY, secret.reveal() + max_message_bytes.to_bytes(4, "big"))

    def ready(self, *, max_message_bytes: int) -> bytes:
        """A READY frame."""
        return self._seal(FrameType.READY << 8, max_message_bytes.to_bytes(4, "big"))

    def data(
        self, payload: bytes | memoryview, *, more: bool = False, receipt_wanted: bool = False
    ) -> bytes:
        """A DATA frame: a message, or with ``more`` a piece of one.

        Raises:
            ValueError: a payload or a pair of flags that no receiver takes.
        """
        kind = _DATA | more | receipt_wanted << 1
        least, most = SHAPES.get(kind, _NO_SHAPE)
        if not least <= len(payload) <= most:
            raise ValueError(f"no DATA frame has {len(payload)} bytes and flags {kind & 0xFF}")
        return self._seal(kind, payload)

    def receipt(self, message_sequence: int) -> bytes:
        """A RECEIPT frame for the message whose last frame had that sequence number."""
        return self._seal(FrameType.RECEIPT << 8, message_sequence.to_bytes(8, "big"))

    def close(self) -> bytes:
        """A CLOSE frame."""
        return self._seal(FrameType.CLOSE << 8, b"")

    def error(self, code: int, text: str) -> bytes:
        """An ERROR frame; a text beyond 1,024 bytes is cut at a character."""
        short = text.encode()[:MAX_ERROR_TEXT].decode(errors="ignore")
        return self._seal(FrameType.ERROR << 8, code.to_bytes(2, "big") + short.encode())

    def goaway(self) -> bytes:
        """A GOAWAY frame."""
        return self._seal(FrameType.GOAWAY << 8, b"")

    def _seal(self, kind: int, payload: bytes | memoryview) -> bytes:
        sequence = self._sequence
        if sequence >= SEQUENCES:
            raise SessionClosedError("all sequence numbers of this direction are used: reconnect")
        self._sequence = sequence + 1
        numbering = NUMBERING.pack(kind, sequence)
        head = byte_string_head(len(payload))
        content = _join((MAC_START, numbering, self._external_aad, head, payload))
        began = perf_counter_ns()
        tag = digest(self._key, content, "sha256")
        self.mac_ns += perf_counter_ns() - began
        return _join((FIXED, numbering, EMPTY_MAP, head, payload, TAG_HEAD, tag))


class Opener:
    """Checks the frames of one direction and takes them apart.

    ``sender`` is the direction, ``key`` the sender's; or, for a server that waits for KEY, what
    derives the key from KEY's secret. ``sequence`` is the number that the next frame must have.
    Give it bytes by `receive_data` and take frames by `next_frame`. After an error it is dead:
    it says the same again and takes nothing more. ``mac_ns`` is the time spent in HMAC so far,
    in nanoseconds.
    """

    __slots__ = (
        "_arrived",
        "_buffer",
        "_buffered",
        "_derive",
        "_external_aad",
        "_failure",
        "_key",
        "_needed",
        "_sequence",
        "mac_ns",
    )

    def __init__(
        self, sender: Role, key: Secret | Callable[[Secret], Secret], *, sequence: int = 0
    ) -> None:
        self._external_aad = external_aad(sender)
        self._derive = None if isinstance(key, Secret) else key
        self._key = key.reveal() if isinstance(key, Secret) else b""
        self._sequence = sequence
        # What has come is `_buffer`, then `_arrived`, which are put together once as much is there
        # as the frame needs: one that comes in many pieces is not copied for each.
        self._buffer = b""
        self._arrived: list[bytes] = []
        self._buffered = 0
        self._needed = 1
        self._failure: SessionError | None = None
        self.mac_ns = 0

    @property
    def sequence(self) -> int:
        """The sequence number that the next frame must have."""
        return self._sequence

    @property
    def buffered_bytes(self) -> int:
        """How much of what was received stands before `next_frame` still."""
        return self._buffered

    def receive_data(self, data: bytes) -> None:
        """Takes ``data`` as they came from the channel, cut up in any way."""
        if self._failure is None:
            if self._buffered:
                self._arrived.append(data)
            else:
                self._buffer = data
            self._buffered += len(data)

    def receive_eof(self) -> None:
        """The channel has ended.

        Raises:
            SessionTruncatedError: within a frame.
        """
        if self._failure is None and self._buffered:
            self._failure = SessionTruncatedError("the connection ended within a frame")
        if self._failure is not None:
            raise self._failure

    def next_frame(self) -> Frame | None:
        """The next frame, verified; None when more bytes are needed.

        Raises:
            MalformedError: not the one shape, or another frame where KEY is due.
            MessageTooLargeError: a payload beyond the limit.
            ForgedError: a tag that the key did not make.
            BindingMismatchError: KEY's tag: the two ends do not see the same connection.
            ReplayedError: a sequence number that was there before.
            MissingError: a sequence number from further on.
        """
        if self._failure is not None:
            raise self._failure
        if self._buffered < self._needed:
            return None
        if self._arrived:
            self._buffer = _join((self._buffer, *self._arrived))
            self._arrived.clear()
        try:
            return self._open()
        except SessionError as failure:
            self._failure = failure
            self._buffer, self._buffered = b"", 0
            self._arrived.clear()
            raise

    def _open(self) -> Frame | None:
        buffer = self._buffer
        start = buffer[:HEAD_MOST]
        head = read_head(start)
        if head is None:
            self._needed = self._buffered + 1
            return None
        kind, sequence, payload_at, length = head
        if self._derive is not None and (kind != _KEY or sequence):
            raise MalformedError("the first frame is not KEY with sequence 0")
        payload_end = payload_at + length
        size = payload_end + TRAILER_BYTES
        if self._buffered < size:
            self._needed = size
            return None
        payload = buffer[payload_at:payload_end]
        trailer = buffer[payload_end:size]
        if not trailer.startswith(TAG_HEAD):
            raise MalformedError("a frame's tag is not a byte string of 32 bytes")
        payload_head = start[_PAYLOAD_HEAD_AT:payload_at]
        content = _join((MAC_START, start[_NUMBERED], self._external_aad, payload_head, payload))
        if self._derive is not None:
            self._key = self._derive(Secret(payload[:SECRET_BYTES])).reveal()
        began = perf_counter_ns()
        genuine = compare_digest(TAG_HEAD + digest(self._key, content, "sha256"), trailer)
        self.mac_ns += perf_counter_ns() - began
        if not genuine:
            raise self._not_genuine(kind, sequence)
        if sequence != self._sequence:
            raise self._out_of_sequence(kind, sequence)
        self._derive = None
        self._sequence = sequence + 1
        # Nearly always nothing: a read gives one TLS record, and our peers send a frame in each.
        self._buffer = buffer[size:]
        self._buffered -= size
        self._needed = 1
        if kind & ~_FLAGS == _DATA:
            return Data(sequence, payload, kind & MORE != 0, kind & RECEIPT_WANTED != 0)
        return _read_payload(kind >> 8, sequence, payload)

    def _not_genuine(self, kind: int, sequence: int) -> SessionError:
        if self._derive is not None:
            return BindingMismatchError(
                "KEY's tag does not verify: the two ends do not see the same certificates or the "
                "same connection; somebody may stand in between"
            )
        return ForgedError(
            f"{FrameType(kind >> 8).name} #{sequence} has a tag that the session's key did not make"
        )

    def _out_of_sequence(self, kind: int, sequence: int) -> SessionError:
        name = f"{FrameType(kind >> 8).name} #{sequence}"
        if sequence < self._sequence:
            return ReplayedError(f"{name} came again: #{self._sequence} was due")
        return MissingError(f"{name} came where #{self._sequence} was due: frames are missing")


def _read_payload(frame_type: int, sequence: int, payload: bytes) -> Frame:
    match frame_type:
        case FrameType.KEY:
            secret, most = Secret(payload[:SECRET_BYTES]), payload[SECRET_BYTES:]
            return Key(sequence, secret, int.from_bytes(most, "big"))
        case FrameType.READY:
            return Ready(sequence, int.from_bytes(payload, "big"))
        case FrameType.RECEIPT:
            return Receipt(sequence, int.from_bytes(payload, "big"))
        case FrameType.CLOSE:
            return Close(sequence)
        case FrameType.ERROR:
            return Error(sequence, int.from_bytes(payload[:2], "big"), _printable(payload[2:]))
        case _:
            return GoAway(sequence)


def _printable(text: bytes) -> str:
    # It is shown on terminals and in logs: a peer must not get to move the cursor there.
    try:
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text.decode())
    except UnicodeDecodeError:
        raise MalformedError("an ERROR's text is not UTF-8") from None
