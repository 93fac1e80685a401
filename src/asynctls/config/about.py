"""What a setting says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = ["About"]


class About(msgspec.Struct, frozen=True):
    """What a setting is for, and between what its value must lie (numbers, durations, ports)."""

    words: str
    least: int | timedelta | None = None
    most: int | timedelta | None = None
