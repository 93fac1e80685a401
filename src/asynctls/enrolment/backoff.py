"""How long to wait before the next try: longer each time, and never in step with others."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["delays", "jittered"]


def delays(first_s: float, longest_s: float) -> Iterator[float]:
    """Delays in seconds, each twice the one before up to the longest, without end."""
    delay_s = first_s
    while True:
        yield jittered(delay_s)
        delay_s = min(delay_s * 2, longest_s)


def jittered(delay_s: float) -> float:
    """A quarter more or less, so that what went down together does not come back in step."""
    return delay_s * random.uniform(0.75, 1.25)  # noqa: S311
