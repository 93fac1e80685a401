"""The frames of asynctls/1, as what they say: `sealer` makes their bytes, `opener` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from asynctls.session.states import FrameType, Step

if TYPE_CHECKING:
    from asynctls.mac import Secret

__all__ = ["Close", "Data", "Error", "Frame", "GoAway", "Key", "Ready", "Receipt"]

_PIECE: Final = Step.PIECE
_MESSAGE: Final = Step.MESSAGE


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
        return _PIECE if self.more else _MESSAGE

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
