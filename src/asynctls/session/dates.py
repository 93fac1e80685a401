"""Ends a session when the first of its two certificates ends (RFC 5280, section 4.1.2.5)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.admission import Peer

__all__ = ["Expiry", "utc_now"]

# The wall clock can be set, and a loop's time may stand still in sleep: look again this often.
_LOOK_AGAIN_S: Final = 600.0


def utc_now() -> datetime:
    """The time by the wall clock."""
    return datetime.now(UTC)


class Expiry:
    """Calls ``on_end`` once with whose certificate ended and when, in words."""

    def __init__(
        self, *whose: Peer, on_end: Callable[[str], None], now: Callable[[], datetime] = utc_now
    ) -> None:
        self._first = min(whose, key=lambda peer: peer.not_after)
        self._on_end = on_end
        self._now = now
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Looks at the clock now, and again when it is time; ``on_end`` may be called at once."""
        left_s = (self._first.not_after - self._now()).total_seconds()
        if left_s > 0:
            self._alarm = asyncio.get_running_loop().call_later(
                min(left_s, _LOOK_AGAIN_S), self.start
            )
            return
        self._on_end(
            f"the certificate of {self._first.name} ended at "
            f"{self._first.not_after:%Y-%m-%dT%H:%M:%SZ}"
        )

    def stop(self) -> None:
        """Looks no more."""
        if self._alarm is not None:
            self._alarm.cancel()
