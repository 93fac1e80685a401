"""What the operations take, by the side that pays for them, and AES against RSA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.costs.charts import Chart, Part, Row, amount_of, stack
from asynctls.costs.words import SIDE_WORDS
from asynctls.words import key_words, number_words, time_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asynctls.costs.report import Operation, Report

__all__ = ["time_charts"]


def time_charts(report: Report) -> Iterator[Chart]:
    """A chart for each type of key, on one scale, and AES against RSA.

    Making a key pair is in the tables only: it is done once, before anything is sent, and with RSA
    it takes so long that nothing else could be seen.
    """
    key_types = dict.fromkeys(key for operation in report.operations for key in operation.counts)
    paid = {key_type: _paid(report, key_type) for key_type in key_types}
    amounts = [amount_of(parts) for sides in paid.values() for parts in sides.values()]
    for key_type, sides in paid.items():
        if sides:
            yield _times(report, key_type, sides, longest=max(amounts))
    if report.aes_against_rsa:
        yield _aes_against_rsa(report)


def _paid(report: Report, key_type: str) -> dict[str, list[Part]]:
    """What each side's operations take in all; a side that has none is left out."""
    sides = {
        side: [
            Part(series, operation.words, operation.totals[key_type][side])
            for series, operation in enumerate(report.operations, start=1)
            if not _makes_keys(operation) and side in operation.totals.get(key_type, {})
        ]
        for side in SIDE_WORDS
    }
    return {side: parts for side, parts in sides.items() if parts}


def _makes_keys(operation: Operation) -> bool:
    return operation.name.endswith("_key_generation")


def _times(
    report: Report, key_type: str, sides: Mapping[str, Sequence[Part]], *, longest: float
) -> Chart:
    keys = sum(
        sum(operation.totals.get(key_type, {}).values())
        for operation in report.operations
        if _makes_keys(operation)
    )
    words = f"All sides together compute for {time_words(sum(map(amount_of, sides.values())))}."
    if keys:
        words += (
            f" The key pairs, made once and before that, take {time_words(keys)} and are not in"
            " the bars."
        )
    return Chart(
        name=f"time-{key_type}",
        title=f"Computation with {key_words(key_type)}",
        words=words,
        bars=stack(
            ((SIDE_WORDS[side], parts) for side, parts in sides.items()),
            time_words,
            longest=longest,
        ),
        columns=("one takes", *(SIDE_WORDS[side] for side in sides)),
        rows=tuple(_rows(report, key_type, sides)),
    )


def _rows(report: Report, key_type: str, sides: Iterable[str]) -> Iterator[Row]:
    """An operation's time, and how often each side needs it."""
    for series, operation in enumerate(report.operations, start=1):
        counts = operation.counts.get(key_type, {})
        if counts:
            places = (
                f"{operation.name}.counts.{key_type}.{side}" if side in counts else None
                for side in sides
            )
            yield Row(series, operation.words, (f"{operation.name}.seconds", *places))


def _aes_against_rsa(report: Report) -> Chart:
    """How much longer RSA takes for the same bytes."""
    times = report.aes_against_rsa
    return Chart(
        name="aes-against-rsa",
        title="AES against RSA",
        words=f"For the same bytes RSA decryption takes {number_words(times)} times as long as AES."
        " So RSA signs, once for each handshake, and AES carries the messages.",
        bars=stack(
            (("AES", [Part(1, "AES", 1)]), ("RSA", [Part(2, "RSA", times)])),
            lambda amount: f"{number_words(amount)} time{'s' if amount != 1 else ''}",
            longest=times,
        ),
    )
