"""By how much two clocks disagree, in words: certificates mean nothing to a clock that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from asynctls.errors import ClockError

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["check_dates", "disagreement", "utc_now"]

TOLERATED = timedelta(seconds=60)
"""What the TTP's backdating covers (MAX_BACKDATING), so what is no cause of anything."""


def utc_now() -> datetime:
    """The time, aware and UTC."""
    return datetime.now(UTC)


def check_dates(what: str, certificate: x509.Certificate, *, now: datetime) -> None:
    """Checks that a certificate just received is valid by this clock.

    Args:
        what: It, in words.
        certificate: Itself.
        now: The time here.

    Raises:
        ClockError: It is not: what it is, its dates, and the time here.
    """
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now < end:
        raise ClockError(
            f"{what} is valid from {start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC, and "
            f"it is {now:%Y-%m-%d %H:%M:%S} here"
        )


def disagreement(ours: datetime, theirs: datetime | None) -> str | None:
    """How this machine's clock stands to the TTP's; None: close enough, or not known.

    Args:
        ours: The time by this clock.
        theirs: The time by the TTP's, taken in the same moment.
    """
    if theirs is None or abs(ours - theirs) < TOLERATED:
        return None
    stands = "ahead of" if ours > theirs else "behind"
    apart = timedelta(seconds=round(abs(ours - theirs).total_seconds()))
    return (
        f"this machine's clock is {apart} {stands} the TTP's "
        f"({ours:%Y-%m-%d %H:%M:%S} here, {theirs:%Y-%m-%d %H:%M:%S} UTC there)"
    )
