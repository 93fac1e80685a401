"""How long to wait before the next try: longer each time, and never in step with others."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Delays that double from ``first_s`` to ``longest_s``, each 25 % shorter or longer by chance.

    What held for longer than the longest delay starts them anew; what held only for a moment does
    not, or a peer that lets in and throws out at once would be asked as fast as it can.
    """

    def __init__(self, *, first_s: float = 0.5, longest_s: float = 30.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def start_anew(self) -> None:
        """What was tried last came to the end that it has when all is well."""
        self._next_s = self._first_s

    def delay_s(self, *, held_s: float = 0.0) -> float:
        """Seconds to wait now.

        Args:
            held_s: for how long what was tried last has worked; 0: not at all.
        """
        if held_s > self._longest_s:
            self.start_anew()
        delay_s = self._next_s * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, no secret
        self._next_s = min(self._next_s * 2, self._longest_s)
        return delay_s
