"""The figures of a report as tables for a terminal: what was sent, and what was computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group as Together
from rich.table import Table
from rich.text import Text

from asynctls.costs.ladder import GROUP_COLOURS
from asynctls.costs.report import Group
from asynctls.costs.words import GROUP_WORDS, SIDE_WORDS
from asynctls.words import key_words, number_words, share_words, time_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from asynctls.costs.report import Conversation, Operation, Report

__all__ = ["tables"]

_KINDS = {"session": "session", "tls": "TLS alone"}


@dataclass(frozen=True, slots=True)
class _Column:
    """Conversations that are summed up in one column."""

    heading: str
    conversations: tuple[Conversation, ...]


def tables(report: Report) -> Together:
    """Every table of a report, as something that `rich` prints."""
    shown = (
        _communication(report),
        _many_messages(report),
        _joining(report),
        *_computation(report),
        _aes_against_rsa(report),
        *(Text(note, style="dim") for note in report.notes),
    )
    return Together(*(each for each in shown if each is not None))


def _communication(report: Report) -> Table:
    first = report.conversations[0]
    alike = [
        each
        for each in report.conversations
        if (each.kind, each.sent_messages) == (first.kind, first.sent_messages)
    ]
    columns = [
        _Column(f"{key_words(each.key_type)}\n{each.handshake}", (each,))
        for each in sorted(alike, key=lambda each: each.handshake)
    ]
    title = f"Bytes on the wire: {_KINDS.get(first.kind, first.kind)}, {_messages(first)}"
    return _by_group(title, columns)


def _joining(report: Report) -> Table | None:
    columns = []
    for key_type in dict.fromkeys(each.key_type for each in report.conversations):
        joining = [
            each
            for each in report.conversations
            if each.joins
            and each.key_type == key_type
            and any(message.sender == "client" for message in each.messages)
        ]
        if joining:
            columns.append(_Column(key_words(key_type), tuple(joining)))
    return _by_group("Bytes on the wire: the client joins", columns) if columns else None


def _by_group(title: str, columns: Sequence[_Column]) -> Table:
    table = _table(title, "", *(each.heading for each in columns))
    for group in Group:
        octets = [
            sum(told.groups[group].octets for told in each.conversations if group in told.groups)
            for each in columns
        ]
        if any(octets):
            # As Text: a cell of a str is markup.
            name = Text(GROUP_WORDS[group], style=GROUP_COLOURS[group])
            table.add_row(name, *(number_words(n) if n else "-" for n in octets))
    table.add_section()
    for words, figure in _IN_ALL:
        table.add_row(words, *(figure(each.conversations) for each in columns))
    return table


def _octets(told: Iterable[Conversation]) -> str:
    return number_words(sum(each.octets for each in told))


def _overhead(told: Sequence[Conversation]) -> str:
    octets = sum(each.octets for each in told)
    return share_words(1 - sum(each.payload for each in told) / octets) if octets else "-"


def _round_trips(told: Iterable[Conversation]) -> str:
    return number_words(sum(each.round_trips for each in told))


def _segments(told: Iterable[Conversation]) -> str:
    return number_words(sum(sum(each.segments.values()) for each in told))


def _loopback_segments(told: Iterable[Conversation]) -> str:
    return number_words(sum(sum(each.loopback_segments.values()) for each in told))


_IN_ALL: Sequence[tuple[str, Callable[[Sequence[Conversation]], str]]] = (
    ("in all", _octets),
    ("of it overhead", _overhead),
    ("round trips", _round_trips),
    ("segments, MTU 1500", _segments),
    ("handed on, loopback", _loopback_segments),
)


def _many_messages(report: Report) -> Table | None:
    """What a message costs alone, and among many: with the session, and with TLS alone."""
    rows: dict[tuple[str, str, str], dict[int, Conversation]] = {}
    for each in report.conversations:
        if not each.joins:
            rows.setdefault((each.key_type, each.kind, each.handshake), {})[each.sent_messages] = (
                each
            )
    counts = sorted({count for row in rows.values() for count in row})
    if len(counts) < 2:
        return None
    headings = [f"{number_words(n)} message{'' if n == 1 else 's'}" for n in counts]
    table = _table(
        "Bytes and overhead, one message and many",
        "",
        *(words for heading in headings for words in (heading, "overhead")),
        "each",
    )
    for (key_type, kind, handshake), row in rows.items():
        cells: list[str] = []
        for count in counts:
            told = row.get(count)
            cells += ("-", "-") if told is None else (_octets([told]), share_words(told.overhead))
        most = row.get(counts[-1])
        per_message = "-" if most is None else f"{most.octets / counts[-1]:,.1f}"
        table.add_row(
            f"{key_words(key_type)}, {_KINDS.get(kind, kind)}, {handshake}", *cells, per_message
        )
    return table


def _computation(report: Report) -> Iterator[Table]:
    first = report.conversations[0]
    joins = any(each.joins for each in report.conversations)
    run = f"{'both joining, and ' if joins else ''}one {_KINDS.get(first.kind, first.kind)}"
    for key_type in dict.fromkeys(key for each in report.operations for key in each.counts):
        table = _table(
            f"Computation with {key_words(key_type)}: {run} of {_messages(first)}",
            "",
            "one",
            *SIDE_WORDS.values(),
            "in all",
        )
        in_all = dict.fromkeys(SIDE_WORDS, 0.0)
        for each in report.operations:
            if key_type in each.counts:
                seconds = each.totals[key_type]
                for side in SIDE_WORDS:
                    in_all[side] += seconds.get(side, 0.0)
                table.add_row(
                    each.words,
                    time_words(each.seconds),
                    *(_counted(each, key_type, side) for side in SIDE_WORDS),
                    time_words(sum(seconds.values())),
                )
        table.add_section()
        times = (time_words(in_all[side]) for side in SIDE_WORDS)
        table.add_row("in all", "", *times, time_words(sum(in_all.values())))
        yield table


def _counted(operation: Operation, key_type: str, side: str) -> str:
    count = operation.counts[key_type].get(side, 0)
    return number_words(count) if count else "-"


def _aes_against_rsa(report: Report) -> RenderableType | None:
    if not report.aes_against_rsa:
        return None
    return Text(
        f"AES against RSA: to decrypt the same bytes takes RSA {report.aes_against_rsa:,.0f} times "
        "as long.\n",
        style="bold",
    )


def _messages(told: Conversation) -> str:
    return f"{number_words(told.sent_messages)} message{'' if told.sent_messages == 1 else 's'}"


def _table(title: str, first: str, *headings: str) -> Table:
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(Text(heading), justify="right", overflow="fold")
    return table
