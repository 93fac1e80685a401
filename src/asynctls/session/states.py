"""The session's state machine: which frame may come in which state, for both roles, in one table.

Everything that moves a direction from one state to another lives here, and nothing here knows
which role this process plays: what is sent and what is received are judged by the same rows.
docs/session-protocol.md draws its machine from this table, and a test holds the two together.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TABLE", "FrameType", "Role", "State", "Step"]


class Role(Enum):
    """The two ends, by who opened the TLS connection; a direction is named by its sender."""

    CLIENT = "client"
    SERVER = "server"

    # Enum's own hashes a member's name, in Python: these are looked up in TABLE for each frame.
    __hash__ = object.__hash__

    @property
    def other(self) -> Role:
        """The other end."""
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT


class FrameType(IntEnum):
    """The type byte of a frame."""

    KEY = 1
    READY = 2
    DATA = 3
    RECEIPT = 4
    CLOSE = 5
    ERROR = 6
    GOAWAY = 7

    __hash__ = int.__hash__


class Step(Enum):
    """What moves a direction on: the frame's type, and for DATA whether MORE is set."""

    KEY = "KEY"
    READY = "READY"
    PIECE = "DATA with MORE"
    MESSAGE = "DATA without MORE"
    RECEIPT = "RECEIPT"
    CLOSE = "CLOSE"
    ERROR = "ERROR"
    GOAWAY = "GOAWAY"

    __hash__ = object.__hash__


class State(Enum):
    """Where a direction stands."""

    START = "start"
    """Nothing was sent yet."""
    OPEN = "open"
    """Between two messages."""
    WITHIN = "within"
    """Within a message: a piece with MORE was sent, the last one was not."""
    CLOSED = "closed"
    """CLOSE was sent; the other direction may go on."""
    ENDED = "ended"
    """ERROR was sent: the session is over."""

    __hash__ = object.__hash__


_OPEN: Final = {
    Step.PIECE: State.WITHIN,
    Step.MESSAGE: State.OPEN,
    Step.RECEIPT: State.OPEN,
    Step.CLOSE: State.CLOSED,
    Step.ERROR: State.ENDED,
}
_WITHIN: Final = {
    Step.PIECE: State.WITHIN,
    Step.MESSAGE: State.OPEN,
    Step.RECEIPT: State.WITHIN,
    Step.ERROR: State.ENDED,
}
_CLOSED: Final = {Step.RECEIPT: State.CLOSED, Step.ERROR: State.ENDED}

TABLE: Final[Mapping[Role, Mapping[State, Mapping[Step, State]]]] = MappingProxyType(
    {
        Role.CLIENT: {
            State.START: {Step.KEY: State.OPEN},
            State.OPEN: _OPEN,
            State.WITHIN: _WITHIN,
            State.CLOSED: _CLOSED,
            State.ENDED: {},
        },
        Role.SERVER: {
            State.START: {Step.READY: State.OPEN, Step.ERROR: State.ENDED},
            State.OPEN: {**_OPEN, Step.GOAWAY: State.OPEN},
            State.WITHIN: {**_WITHIN, Step.GOAWAY: State.WITHIN},
            State.CLOSED: _CLOSED,
            State.ENDED: {},
        },
    }
)
"""``TABLE[sender][state][step]`` is the next state of the sender's direction.

A step that is not in it may not stand there.
"""
