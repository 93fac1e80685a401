"""When to say again what only a person can do: more often the nearer the end."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["Reminder"]

_STEP = 0.9


class Reminder:
    """Says 'now' at first, and again each time that a tenth of the time left has gone by."""

    def __init__(self) -> None:
        self._left: timedelta | None = None

    def is_due(self, left: timedelta) -> bool:
        """Whether to say it now, with so much time left; counts as said when it is."""
        left = max(left, timedelta())
        due = self._left is None or left < self._left * _STEP
        if due:
            self._left = left
        return due

    def reset(self) -> None:
        """There is nothing to say any more."""
        self._left = None
