"""Whether the ledger's database answers, as whoever tried last found out.

A database that is frozen, or behind a network that drops everything, is found out by waiting. While
it is away one try goes through at a time, and all others are told at once what the last one was
told: else each would wait as long, in threads that other work needs.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from asynctls.errors import LedgerAwayError
from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Reach"]

log = get_logger()

_PAUSE_S = 0.2
# For one that never says how it ended.
_LONGEST_TRY_S = 30.0


class Reach:
    """What all threads know of one database; the log hears of each change, and of nothing else."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Counts as reached.

        Args:
            clock: the time, in seconds.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._failure: str | None = None
        self._since = 0.0
        self._next_try = 0.0

    def refusal(self) -> LedgerAwayError | None:
        """None: try, and say by `lost` or `found` how it went; else why there is no use in it."""
        with self._lock:
            now = self._clock()
            if self._failure is None:
                return None
            if now < self._next_try:
                return LedgerAwayError(self._failure)
            self._next_try = now + _LONGEST_TRY_S
            return None

    def lost(self, failure: Exception) -> None:
        """It could not be reached, or fell silent."""
        with self._lock:
            now = self._clock()
            is_news = self._failure is None
            if is_news:
                self._since = now
            self._failure = str(failure)
            self._next_try = now + _PAUSE_S
        if is_news:
            log.warning("ledger out of reach", reason=str(failure))

    def found(self) -> None:
        """It answered."""
        with self._lock:
            was_away = self._failure is not None
            away_s = self._clock() - self._since
            self._failure = None
        if was_away:
            log.info("ledger reached again", away_s=round(away_s, 1))
