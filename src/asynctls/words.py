"""Figures as people read them: the same words in every table, sentence and picture."""

from __future__ import annotations

__all__ = ["key_words", "number_words", "share_words", "time_words"]


def number_words(number: float) -> str:
    """A count with its thousands apart; what is no whole number has one digit more."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def share_words(share: float) -> str:
    """A share, 0 to 1, in per cent."""
    return f"{share * 100:.1f} %"


def time_words(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds >= 1:
        return f"{seconds:,.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:,.2f} ms"
    return f"{seconds * 1e6:,.1f} µs"


def key_words(key_type: str) -> str:
    """`rsa-2048` as `RSA 2048`, `ecdsa-p256` as `ECDSA P-256`."""
    algorithm, _, size = key_type.partition("-")
    return f"{algorithm.upper()} {size.replace('p', 'P-')}"
