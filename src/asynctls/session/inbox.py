"""What was received and not taken yet: bounded, so that a slow application slows its peer down.

While a receipt is awaited the bound is four times as wide: the receipt comes in the same stream,
behind messages that the application may not take before it has the receipt.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.session.frames import Data

__all__ = ["Inbox"]

_PATIENCE: Final = 4


class Inbox:
    """Messages in the order of their arrival, ``messages`` and ``content_bytes`` at the most.

    One message always finds room in an empty inbox, however large it is.

    Attributes:
        full: there is no room for another message.
    """

    __slots__ = (
        "_bytes",
        "_ended",
        "_most_bytes",
        "_most_messages",
        "_on_room",
        "_patience",
        "_queue",
        "_waiting",
        "full",
    )

    def __init__(self, *, messages: int, content_bytes: int) -> None:
        self._most_messages = messages
        self._most_bytes = content_bytes
        self._queue: deque[Data] = deque()
        self._bytes = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._on_room: Callable[[], None] | None = None
        self._ended = False
        self._patience = 1
        self.full = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def ended(self) -> bool:
        """Whether nothing more will be put in."""
        return self._ended

    def put(self, message: Data) -> bool:
        """Adds a message, and says whether it was waited for; look first whether it is `full`.

        After the end it is dropped.
        """
        if self._ended:
            return False
        self._queue.append(message)
        self._bytes += len(message.payload)
        if self._bytes >= self._most_bytes or len(self._queue) >= self._most_messages:
            self._judge()
        if not self._waiting:
            return False
        self._wake()
        return True

    def take(self) -> Data | None:
        """The next message, or None."""
        if not self._queue:
            return None
        message = self._queue.popleft()
        self._bytes -= len(message.payload)
        if self.full:
            self._judge()
        return message

    def end(self) -> None:
        """Nothing more will be put in: nobody waits any longer."""
        self._ended = True
        self._wake()
        self._judge()

    def clear(self) -> None:
        """Drops what nobody will take."""
        while self.take() is not None:
            pass

    def arrival(self) -> asyncio.Future[None]:
        """Is done when there is a message to take, or the end."""
        waiting = asyncio.get_running_loop().create_future()
        if self._queue or self._ended:
            waiting.set_result(None)
        else:
            # Those who gave up, one after another, must not pile up.
            self._waiting = [each for each in self._waiting if not each.done()]
            self._waiting.append(waiting)
        return waiting

    def _wake(self) -> None:
        # All of them: one of them alone could be cancelled at this very moment.
        for each in self._waiting:
            if not each.done():
                each.set_result(None)
        self._waiting.clear()

    def be_patient(self, *, patient: bool) -> None:
        """Whether a receipt is awaited."""
        self._patience = _PATIENCE if patient else 1
        self._judge()

    def tell_of_room(self, on_room: Callable[[], None]) -> None:
        """Calls ``on_room`` soon, once, when it is no longer full."""
        self._on_room = on_room

    def _judge(self) -> None:
        self.full = (
            bool(self._queue)
            and not self._ended
            and (
                len(self._queue) >= self._most_messages * self._patience
                or self._bytes >= self._most_bytes * self._patience
            )
        )
        if self._on_room is not None and not self.full:
            asyncio.get_running_loop().call_soon(self._on_room)
            self._on_room = None
