"""Figures and groups as people read them: the same words in every picture and table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from asynctls.costs.report import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GROUP_WORDS", "abridged", "key_words", "number_words", "share_words", "time_words"]

GROUP_WORDS: Mapping[Group, str] = {
    Group.HELLOS: "hellos",
    Group.CERTIFICATES: "certificates",
    Group.KEY_EXCHANGE: "key exchange",
    Group.CERTIFICATE_VERIFY: "certificate verify",
    Group.FINISHED: "change cipher spec and finished",
    Group.TICKETS: "session ticket",
    Group.SHARED_SECRET: "shared secret",
    Group.MESSAGES: "messages",
    Group.RECEIPTS: "receipts",
    Group.CLOSE: "close",
    Group.CA_CHAIN: "CA chain",
    Group.CSR: "certificate request",
    Group.CERTIFICATE: "new certificate",
    Group.CRLS: "CRLs",
}


_LONG_NUMBER = re.compile(r"(?<=/)([0-9a-f]{8})[0-9a-f]{8,}")


def abridged(name: str) -> str:
    """A message's name without the end of the long numbers in its path."""
    return _LONG_NUMBER.sub(r"\1…", name)


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
