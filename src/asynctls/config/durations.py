"""Lengths of time as people write them: ``5s``, ``10m``, ``24h``, ``7d``, ``1h30m``."""

from __future__ import annotations

import re
from datetime import timedelta

__all__ = ["format_duration", "parse_duration"]

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in _SECONDS))
_SHAPE = "a duration is written 5s, 10m, 24h, 7d or 1h30m"


def parse_duration(text: str) -> timedelta:
    """Reads a duration: whole numbers with the units d, h, m, s, from the largest down.

    Raises:
        ValueError: with one sentence that says how a duration is written.
    """
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(_SHAPE)
    seconds = sum(
        int(number) * unit
        for number, unit in zip(found.groups(default="0"), _SECONDS.values(), strict=True)
    )
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError("the duration is too long") from None


def format_duration(duration: timedelta) -> str:
    """Writes a duration as ``parse_duration`` reads it, parts of a second left out.

    Days are used from two days on, since people say 24h, and 7d.

    Raises:
        ValueError: when it is negative.
    """
    left = int(duration.total_seconds())
    if duration < timedelta(0):
        raise ValueError("a duration is never negative")
    words = ""
    for unit, seconds in _SECONDS.items():
        if unit == "d" and left < 2 * seconds:
            continue
        count, left = divmod(left, seconds)
        if count:
            words += f"{count}{unit}"
    return words or "0s"
