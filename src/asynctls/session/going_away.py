"""Whether it is time to finish and to come back, for a session that may live idle for months."""

from __future__ import annotations

import asyncio

__all__ = ["GoingAway"]


class GoingAway:
    """An event that takes memory when somebody waits for it: of a thousand idle sessions few do.

    Attributes:
        is_set: it has happened.
    """

    __slots__ = ("_event", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._event: asyncio.Event | None = None

    def set(self) -> None:
        """It has happened; whoever waits is woken."""
        self.is_set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Returns when it has happened."""
        if not self.is_set:
            self._event = self._event or asyncio.Event()
            await self._event.wait()
