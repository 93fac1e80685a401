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

    from asynctls.session.protocol import Message

__all__ = ["Inbox"]

_PATIENCE: Final = 4


class Inbox:
    """Messages in the order of their arrival, ``messages`` and ``content_bytes`` at the most.

    One message always finds room in an empty inbox, however large it is.
    """

    def __init__(self, *, messages: int, content_bytes: int) -> None:
        self._most_messages = messages
        self._most_bytes = content_bytes
        self._queue: deque[Message] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._changed = asyncio.Event()
        self._ended = False

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def ended(self) -> bool:
        """Whether nothing more will be put in."""
        return self._ended

    def put(self, message: Message) -> None:
        """Adds a message; to keep the bound, wait for `room` first."""
        self._queue.append(message)
        self._bytes += len(message.content)
        self._arrived.set()

    def take(self) -> Message | None:
        """The next message, or None."""
        if not self._queue:
            return None
        message = self._queue.popleft()
        self._bytes -= len(message.content)
        if not self._queue and not self._ended:
            self._arrived.clear()
        self._changed.set()
        return message

    def end(self) -> None:
        """Nothing more will be put in: nobody waits any longer."""
        self._ended = True
        self._arrived.set()
        self._changed.set()

    def clear(self) -> None:
        """Drops what nobody will take."""
        while self.take() is not None:
            pass

    def reconsider(self) -> None:
        """Whoever waits for room looks again."""
        self._changed.set()

    async def arrival(self) -> None:
        """Waits until there is a message to take, or the end."""
        await self._arrived.wait()

    async def room(self, awaits_receipt: Callable[[], bool]) -> None:
        """Waits until there is room for a message."""
        while not self._has_room(_PATIENCE if awaits_receipt() else 1):
            self._changed.clear()
            await self._changed.wait()

    def _has_room(self, factor: int) -> bool:
        return (
            self._ended
            or not self._queue
            or (
                len(self._queue) < self._most_messages * factor
                and self._bytes < self._most_bytes * factor
            )
        )
