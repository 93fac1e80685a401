"""What came of an attempt, in words that name it: an alert, an ERROR frame, the end, or nothing."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.alerts import Alert
from asynctls.errors import (
    AsynctlsError,
    ErrorCode,
    HandshakeTimeoutError,
    PeerRefusedError,
    RefusedByPeerError,
    SessionError,
    TruncatedError,
)
from asynctls.probe.attack import PATIENCE_S
from asynctls.probe.offers import alert_words
from asynctls.session.frames import Close, Error

if TYPE_CHECKING:
    from asynctls.probe.insider import Insider
    from asynctls.session.frames import Frame

__all__ = ["Heard", "explained", "hear", "is_told", "words_of"]

_SILENCE = f"nothing within {PATIENCE_S:g} s"


def explained(error: AsynctlsError | OSError) -> str:
    """How an honest connection ended that somebody had tampered with."""
    match error:
        case RefusedByPeerError(alert=Alert() as alert) | TruncatedError(alert=Alert() as alert):
            return f"the server refused: {alert_words(alert)}"
        case PeerRefusedError() | SessionError():
            return f"our client refused: {error}"
        case TimeoutError() | HandshakeTimeoutError():
            return _SILENCE
    # OpenSSL's own, of a flight that could not be answered by an alert any more.
    words = str(error)
    ours = words.removeprefix("the handshake failed: ")
    return words if ours == words else f"our client refused: {ours}"


def is_told(error: AsynctlsError | OSError) -> bool:
    """Whether somebody said why, by an alert or an ERROR; else the connection just ended."""
    match error:
        case PeerRefusedError() | RefusedByPeerError() | TruncatedError(alert=Alert()):
            return True
    return False


def words_of(error: Error) -> str:
    """An ERROR frame with its code and its text."""
    return f"the server sent ERROR {error.code}: {error.text}"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a server said in a session after something was tried.

    Attributes:
        frames: whole and verified, in their order.
        end: how it ended then, in words; None: it did not within `PATIENCE_S`.
        in_order: whether it said that it had sent all (close_notify).
    """

    frames: tuple[Frame, ...]
    end: str | None
    in_order: bool = False

    @property
    def error(self) -> Error | None:
        """The ERROR frame by which the server ended the session."""
        last = self.frames[-1] if self.frames else None
        return last if isinstance(last, Error) else None

    @property
    def found_out(self) -> bool:
        """Whether it ended the session over a frame of ours."""
        return self.error is not None and self.error.code in (
            ErrorCode.MALFORMED,
            ErrorCode.FORGED,
            ErrorCode.REPLAYED,
            ErrorCode.MISSING,
        )

    @property
    def closed(self) -> bool:
        """Whether it said CLOSE."""
        return any(isinstance(each, Close) for each in self.frames)

    @property
    def over(self) -> bool:
        """Whether it has ended its direction, however it did."""
        return self.closed or self.error is not None or self.end is not None

    def __str__(self) -> str:
        if self.error is not None:
            return words_of(self.error)
        said = ", ".join(map(str, self.frames))
        before = f"the server sent {said}, then " if said else ""
        return before + (self.end or _SILENCE)


async def hear(insider: Insider, *, patience_s: float = PATIENCE_S) -> Heard:
    """Listens to the server until it ends the connection, for so many seconds at the most."""
    frames: list[Frame] = []
    try:
        async with asyncio.timeout(patience_s):
            while (frame := await insider.answer()) is not None:
                frames.append(frame)
        return Heard(tuple(frames), "the server ended the connection", in_order=True)
    except TimeoutError:
        return Heard(tuple(frames), None)
    except (TruncatedError, SessionError) as error:
        return Heard(tuple(frames), explained(error))
