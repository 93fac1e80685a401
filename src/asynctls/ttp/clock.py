"""The TTP's clock: what it records, signs and judges by, at certificates' whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["now"]


def now() -> datetime:
    """The time, aware, UTC, at whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
