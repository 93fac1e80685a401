"""The ledger's chain of MACs: how a row is bound to its place, and how a break in it is found.

Each row carries ``HMAC-SHA-256(key, u64 sequence || MAC of the row before || canonical row)``
(RFC 2104), so that nobody without the key can change a row, take one out of the middle, put one
in, or swap two. Pure: rows come in as mappings, verdicts go out.

The canonical row is a list of ``u32len(column name) || u8 type || u32len(value)`` for every column
that is not NULL, in the order of the names. Names and types are inside, so a value cannot wander
to another column or change from text to number unseen; NULL is left out, so a column that a later
migration adds leaves the MACs of older rows as they are.

What no chain can show by itself: rows cut off at its end, or a whole ledger put back to an earlier
copy. For that keep a head (sequence and MAC, logged with each append) elsewhere, and give it to
:func:`verify`.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from asynctls import mac
from asynctls.errors import LedgerBrokenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "EMPTY",
    "FIRST_PREVIOUS",
    "Head",
    "Value",
    "canonical",
    "follow",
    "holds",
    "link",
    "verify",
]

Value = int | str | bytes | None
"""What a column of the ledger may hold."""

FIRST_PREVIOUS = bytes(mac.TAG_BYTES)
"""Stands for the MAC of the row before the first one."""

_OUTSIDE = frozenset({"sequence", "previous", "mac"})
_CUT = "restore the ledger from a backup, and find out who could write to the state folder"


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a chain: how far it goes, and the MAC that vouches for all before it."""

    sequence: int
    mac: bytes

    @classmethod
    def parse(cls, text: str) -> Head:
        """Reads ``SEQUENCE:MAC`` (decimal, and 64 hex digits), as ``str`` writes it.

        Raises:
            ValueError: the text is not of that form.
        """
        sequence, colon, digits = text.strip().partition(":")
        if not (colon and sequence.isdecimal() and sequence.isascii() and int(sequence)):
            raise ValueError("a head is SEQUENCE:MAC, as the event 'audit' shows it")
        try:
            tag = bytes.fromhex(digits)
        except ValueError:
            tag = b""
        if len(tag) != mac.TAG_BYTES:
            raise ValueError(f"the MAC of a head is {2 * mac.TAG_BYTES} hex digits")
        return cls(int(sequence), tag)

    def __str__(self) -> str:
        return f"{self.sequence}:{self.mac.hex()}"


EMPTY = Head(0, FIRST_PREVIOUS)
"""The head of a chain that has no row yet."""


def canonical(row: Mapping[str, Value]) -> bytes:
    """The one encoding of a row's columns (all but sequence, previous and mac).

    Raises:
        TypeError: a value of a type that no column has (somebody else wrote it).
        OverflowError: an integer beyond 64 bits.
    """
    parts: list[bytes] = []
    for name, text, number, octets in _columns(tuple(row)):
        value = row[name]
        if value is None:
            continue
        if isinstance(value, str):
            encoded = value.encode()
            parts += (text, len(encoded).to_bytes(4, "big"), encoded)
        elif isinstance(value, bytes):
            parts += (octets, len(value).to_bytes(4, "big"), value)
        elif isinstance(value, int) and not isinstance(value, bool):
            parts += (number, value.to_bytes(8, "big", signed=True))
        else:
            raise TypeError(f"{name} is a {type(value).__name__}")
    return b"".join(parts)


@lru_cache(maxsize=16)
def _columns(names: tuple[str, ...]) -> tuple[tuple[str, bytes, bytes, bytes], ...]:
    """The columns in their order, each with what stands before its value: text, number, bytes.

    The rows of a ledger all have the same, so it is made once and not for each of a million.
    """
    found = []
    for name in sorted(set(names) - _OUTSIDE):
        encoded = name.encode()
        before = struct.pack(">I", len(encoded)) + encoded
        found.append((name, before + b"t", before + b"i" + struct.pack(">I", 8), before + b"b"))
    return tuple(found)


def link(key: bytes, sequence: int, previous: bytes, row: Mapping[str, Value]) -> bytes:
    """The MAC of ``row`` at ``sequence`` after the row whose MAC is ``previous``."""
    return mac.tag(key, struct.pack(">Q", sequence) + previous + canonical(row))


def holds(key: bytes, row: Mapping[str, Value]) -> bool:
    """Whether a row's MAC is the key's, taking the ``previous`` that stands in the row."""
    sequence, previous, tag = row["sequence"], row["previous"], row["mac"]
    if not (isinstance(sequence, int) and isinstance(previous, bytes) and isinstance(tag, bytes)):
        return False
    if sequence < 1:
        return False
    try:
        return hmac.compare_digest(link(key, sequence, previous, row), tag)
    except (TypeError, ValueError, OverflowError):
        return False


def follow(key: bytes, last: Head, row: Mapping[str, Value]) -> Head:
    """The chain's head after ``row``, which must be the one that follows ``last``.

    Raises:
        LedgerBrokenError: it is another one, or was altered.
    """
    expected = last.sequence + 1
    sequence = row["sequence"]
    if not isinstance(sequence, int) or sequence < expected:
        raise LedgerBrokenError(
            f"ledger row {sequence!r} stands where row {expected} should: {_CUT}",
            sequence=expected,
        )
    if sequence > expected:
        gone = (
            f"row {expected} is"
            if sequence == expected + 1
            else (f"rows {expected} to {sequence - 1} are")
        )
        raise LedgerBrokenError(
            f"ledger {gone} missing (row {sequence} is there): {_CUT}", sequence=expected
        )
    if not holds(key, row):
        raise LedgerBrokenError(f"ledger row {sequence} was altered: {_CUT}", sequence=sequence)
    if row["previous"] != last.mac:
        raise LedgerBrokenError(
            f"ledger row {sequence} does not follow row {last.sequence}, though this ledger's "
            f"key made both: rows of two histories were mixed: {_CUT}",
            sequence=sequence,
        )
    tag = row["mac"]
    assert isinstance(tag, bytes)  # noqa: S101 - holds() has seen that it is
    return Head(sequence, tag)


def verify(rows: Iterable[Mapping[str, Value]], key: bytes, *, head: Head | None = None) -> Head:
    """Follows the chain from its first row to its last, one row in memory at a time.

    Args:
        rows: every row, by ascending sequence, each with all of its columns.
        key: the ledger's key, 32 bytes.
        head: a link that is known to have been in this chain; it must still be in it.

    Returns:
        The chain's own head; sequence 0 for a ledger without rows.

    Raises:
        LedgerBrokenError: naming the first row that is altered, missing, or out of its place.
    """
    if head is not None and head.sequence < 1 and head != EMPTY:
        raise LedgerBrokenError(
            f"no ledger can have the head given: before its first row it is {EMPTY}", sequence=1
        )
    last = EMPTY
    remaining = iter(rows)
    for row in remaining:
        if last is EMPTY and row["sequence"] == 1 and not holds(key, row):
            raise LedgerBrokenError(_why_not_the_first(key, next(remaining, None)), sequence=1)
        last = follow(key, last, row)
        if head is not None and head.sequence == last.sequence and head != last:
            raise LedgerBrokenError(
                f"ledger row {last.sequence} is not the one of the head given: the ledger was put "
                f"back to before row {last.sequence} and went on from there: {_CUT}",
                sequence=last.sequence,
            )
    if head is not None and head.sequence > last.sequence:
        raise LedgerBrokenError(
            f"the ledger ends at row {last.sequence}, but the head given is row {head.sequence}: "
            f"what follows row {last.sequence} was cut off: {_CUT}",
            sequence=last.sequence + 1,
        )
    return last


def _why_not_the_first(key: bytes, following: Mapping[str, Value] | None) -> str:
    """A key that fits no row at all is another ledger's; one that fits others shows a change."""
    if following is None or not holds(key, following):
        return (
            "ledger row 1 does not hold under ledger.key: either this is not the ledger's key (put "
            f"the right file back), or the row was altered ({_CUT})"
        )
    return f"ledger row 1 was altered: {_CUT}"
