"""Events that come in storms, logged now and then, with the number of those left out."""

from __future__ import annotations

import time

__all__ = ["Sparing"]


class Sparing:
    """Lets one event of a kind through in each interval, and counts the rest."""

    def __init__(self, *, interval_s: float = 10.0) -> None:
        self._interval_s = interval_s
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def left_out(self, kind: str) -> int | None:
        """None: say nothing now. Else: log it, with this number of events not told before it.

        Kinds are few and fixed: each is remembered.
        """
        now = time.monotonic()
        if now < self._next.get(kind, now):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        self._next[kind] = now + self._interval_s
        return self._left_out.pop(kind, 0)
