"""When to say again what only a person can do: more often the nearer the end, daily after it."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["Reminder"]

_STEP = 0.9
_AFTER_THE_END = timedelta(days=1)


class Reminder:
    """Says 'now' at first, again each time that a tenth of the time left has gone by, and each
    day once there is none left.
    """

    def __init__(self) -> None:
        self._left: timedelta | None = None

    def is_due(self, left: timedelta) -> bool:
        """Whether to say it now, with so much time left; counts as said when it is."""
        before = self._left
        if before is None:
            due = True
        elif before > timedelta():
            due = left < before * _STEP
        else:
            due = left <= before - _AFTER_THE_END
        if due:
            self._left = left
        return due

    def reset(self) -> None:
        """There is nothing to say any more."""
        self._left = None
