"""The TTP's clock: what it records, signs and judges by, at certificates' whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["moment", "now"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """The time, aware, UTC, at whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def moment(seconds: int) -> datetime:
    """The time that the ledger has as seconds since 1970, UTC.

    Raises:
        OverflowError: there is no such date. `datetime.fromtimestamp` has three kinds of error for
            that, by how large the number is.
    """
    return _EPOCH + timedelta(seconds=seconds)
