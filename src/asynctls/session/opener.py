"""Checks the frames of one direction of asynctls/1 and takes them apart: no socket.

In this order: the fixed shape and the length against its limit, from the left and before any of
the payload is taken; the tag, in constant time; the sequence. So a sequence error is always about
a frame that somebody with the key really made. docs/session-protocol.md is the specification.
"""

from __future__ import annotations

from hmac import compare_digest
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from asynctls import mac
from asynctls.errors import (
    BindingMismatchError,
    ForgedError,
    MalformedError,
    MissingError,
    ReplayedError,
    SessionError,
    SessionTruncatedError,
)
from asynctls.mac import Secret
from asynctls.session.frames import Close, Data, Error, Frame, GoAway, Key, Ready, Receipt
from asynctls.session.keys import SECRET_BYTES
from asynctls.session.shape import (
    EMPTY_MAP,
    FIXED,
    MAC_START,
    MORE,
    NUMBERING,
    RECEIPT_WANTED,
    TAG_HEAD,
    TRAILER_BYTES,
    external_aad,
    read_head,
)
from asynctls.session.states import FrameType

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.session.states import Role

__all__ = ["Opener"]

_join: Final = b"".join
_numbering: Final = NUMBERING.pack
_KEY: Final = FrameType.KEY << 8
_DATA: Final = FrameType.DATA << 8
_NO_FLAGS: Final = ~(MORE | RECEIPT_WANTED)
_PAYLOAD_HEAD_AT: Final = len(FIXED) + NUMBERING.size + len(EMPTY_MAP)
_TAG_HEAD_BYTES: Final = len(TAG_HEAD)
_NO_KEY: Final = Secret(bytes(mac.TAG_BYTES))


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
        "_at",
        "_buffer",
        "_buffered",
        "_derive",
        "_external_aad",
        "_failure",
        "_keyed",
        "_needed",
        "_sequence",
        "mac_ns",
    )

    def __init__(
        self, sender: Role, key: Secret | Callable[[Secret], Secret], *, sequence: int = 0
    ) -> None:
        self._external_aad = external_aad(sender)
        self._derive = None if isinstance(key, Secret) else key
        # A server has no key before KEY: then it is made of what that brings.
        self._take_key(key if isinstance(key, Secret) else _NO_KEY)
        self._sequence = sequence
        # What has come is `_buffer` from `_at` on, then `_arrived`, which are put together once as
        # much is there as the frame needs: one that comes in many pieces is not copied for each.
        self._buffer = b""
        self._at = 0
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
            self._buffer = _join((self._buffer[self._at :], *self._arrived))
            self._at = 0
            self._arrived.clear()
        try:
            return self._open(self._buffer, self._at)
        except SessionError as failure:
            self._failure = failure
            self._buffer, self._buffered = b"", 0
            self._arrived.clear()
            raise

    def _open(self, buffer: bytes, at: int) -> Frame | None:
        head = read_head(buffer, at)
        if head is None:
            self._needed = self._buffered + 1
            return None
        kind, sequence, payload_at, length = head
        if self._derive is not None and (kind != _KEY or sequence):
            raise MalformedError("the first frame is not KEY with sequence 0")
        payload_end = payload_at + length
        end = payload_end + TRAILER_BYTES
        if len(buffer) < end:
            self._needed = end - at
            return None
        payload = buffer[payload_at:payload_end]
        if not buffer.startswith(TAG_HEAD, payload_end):
            raise MalformedError("a frame's tag is not a byte string of 32 bytes")
        if self._derive is not None:
            self._take_key(self._derive(Secret(payload[:SECRET_BYTES])))
        payload_head = buffer[at + _PAYLOAD_HEAD_AT : payload_at]
        before = _numbering(kind, sequence) + self._external_aad + payload_head
        began = perf_counter_ns()
        # Not joined to the payload: a large one is not copied for that.
        tag = self._keyed.copy()
        tag.update(before)
        tag.update(payload)
        genuine = compare_digest(tag.finalize(), buffer[payload_end + _TAG_HEAD_BYTES : end])
        self.mac_ns += perf_counter_ns() - began
        if not genuine:
            raise self._not_genuine(kind, sequence)
        if sequence != self._sequence:
            raise self._out_of_sequence(kind, sequence)
        self._derive = None
        self._sequence = sequence + 1
        self._needed = 1
        left = self._buffered = self._buffered - (end - at)
        if left:
            self._at = end
        else:
            self._at, self._buffer = 0, b""
        if kind & _NO_FLAGS == _DATA:
            return Data(sequence, payload, kind & MORE != 0, kind & RECEIPT_WANTED != 0)
        return _read_payload(kind >> 8, sequence, payload)

    def _take_key(self, key: Secret) -> None:
        self._keyed = mac.keyed(key.reveal())
        self._keyed.update(MAC_START)

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
