"""Runs beside each other by their bytes on the wire: what a choice costs, and what it saves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asynctls.costs.charts import Chart, Part, Row, stack
from asynctls.costs.report import Conversation, Group, Report
from asynctls.costs.words import GROUP_WORDS
from asynctls.words import key_words, number_words, share_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["SERIES", "byte_charts"]

SERIES: Mapping[Group, int] = {group: number for number, group in enumerate(Group, start=1)}
"""A group's number, the same on the whole page."""

_KINDS = {"session": "TLS and session", "tls": "TLS alone"}


class _Run(msgspec.Struct, frozen=True):
    """A conversation, with its place in the report."""

    place: str
    told: Conversation

    def octets(self, group: Group) -> str | None:
        """The place of a group's bytes, if there are any."""
        return f"{self.place}.groups.{group}.octets" if group in self.told.groups else None

    def parts(self, *, shared_by: int) -> list[Part]:
        """The bytes of its groups, shared by so many messages."""
        return [
            Part(SERIES[group], GROUP_WORDS[group], self.told.groups[group].octets / shared_by)
            for group in Group
            if group in self.told.groups
        ]


def byte_charts(report: Report) -> list[Chart]:
    """What can be compared in this report; its first conversation is one side of most."""
    runs = [_Run(f"conversations.{at}", told) for at, told in enumerate(report.conversations)]
    story = runs[0]
    comparisons = {
        "key_type": _by_key_type,
        "handshake": _by_handshake,
        "sent_messages": _by_messages,
        "kind": _by_kind,
    }
    charts = [
        compared(beside)
        for varied, compared in comparisons.items()
        if len(beside := _differing(runs, story, varied)) > 1
        and (varied != "sent_messages" or _are_one_and_many(beside))
    ]
    enrolments = [run for run in runs if run.told.kind == "enrolment"]
    return [*charts, _enrolments(enrolments)] if enrolments else charts


def _differing(runs: Iterable[_Run], story: _Run, varied: str) -> list[_Run]:
    """The story, and the first run of each kind that is like it in everything else."""
    same = {"kind", "key_type", "handshake", "sent_messages"} - {varied}
    found: dict[object, _Run] = {}
    for run in runs:
        if all(getattr(run.told, name) == getattr(story.told, name) for name in same):
            found.setdefault(getattr(run.told, varied), run)
    return list(found.values())


def _are_one_and_many(runs: Sequence[_Run]) -> bool:
    """A server of others may send none at first, and some when it is asked again."""
    first, *others = (run.told.sent_messages for run in runs)
    return first == 1 and min(others) > 1


def _by_key_type(runs: Sequence[_Run]) -> Chart:
    labels = [key_words(run.told.key_type) for run in runs]
    return _comparison(
        "key-types",
        " against ".join(label.split()[0] for label in labels),
        f"{labels[-1]} takes {_difference(runs[0], runs[-1])}: its keys and signatures are short.",
        labels,
        runs,
    )


def _by_handshake(runs: Sequence[_Run]) -> Chart:
    return _comparison(
        "handshakes",
        "Full against resumed",
        f"A client that comes back with its ticket takes {_difference(runs[0], runs[-1])}:"
        " no certificate is sent and nothing signed again.",
        [f"{run.told.handshake} handshake" for run in runs],
        runs,
        columns=[run.told.handshake for run in runs],
    )


def _by_messages(runs: Sequence[_Run]) -> Chart:
    counts = [run.told.sent_messages for run in runs]
    labels = ["one message" if count == 1 else f"each of {number_words(count)}" for count in counts]
    each = [number_words(run.told.octets / count) for run, count in zip(runs, counts, strict=True)]
    return _comparison(
        "messages",
        "One message against many",
        f"The handshake is paid once: {labels[-1]} messages takes {each[-1]} bytes, where one"
        f" alone takes {each[0]}. The bars are for one message, the table is for all.",
        labels,
        runs,
        shared_by=counts,
        columns=["one" if count == 1 else f"all {number_words(count)}" for count in counts],
        totals_words="for each message",
    )


def _by_kind(runs: Sequence[_Run]) -> Chart:
    session, tls = runs[0], runs[-1]
    return _comparison(
        "session",
        "TLS against a session in it",
        f"TLS alone takes {_difference(session, tls)}. What the session adds is what makes each"
        " message provable: a shared secret, an authenticated and numbered frame, a receipt.",
        [_KINDS.get(run.told.kind, run.told.kind) for run in runs],
        runs,
    )


def _enrolments(runs: Sequence[_Run]) -> Chart:
    """The first enrolment with each type of key."""
    first = {run.told.key_type: run for run in reversed(runs)}
    chosen = [run for run in runs if run is first[run.told.key_type]]
    return _comparison(
        "enrolment",
        "The enrolment",
        "What an identity costs before its first message, once for each certificate.",
        [key_words(run.told.key_type) for run in chosen],
        chosen,
    )


def _comparison(
    name: str,
    title: str,
    words: str,
    labels: Sequence[str],
    runs: Sequence[_Run],
    *,
    shared_by: Sequence[int] = (),
    columns: Sequence[str] = (),
    totals_words: str = "in all",
) -> Chart:
    """A bar and a column for each run; bars and totals are shared by so many, if that is given."""
    divisors = shared_by or [1] * len(runs)
    amounts = [run.told.octets / by for run, by in zip(runs, divisors, strict=True)]
    return Chart(
        name=name,
        title=title,
        words=words,
        bars=stack(
            (
                (label, run.parts(shared_by=by))
                for label, run, by in zip(labels, runs, divisors, strict=True)
            ),
            _bytes_words,
            longest=max(amounts),
        ),
        columns=tuple(columns or labels),
        rows=tuple(
            Row(SERIES[group], GROUP_WORDS[group], tuple(run.octets(group) for run in runs))
            for group in Group
            if any(group in run.told.groups for run in runs)
        ),
        totals=tuple(map(number_words, amounts)),
        totals_words=totals_words,
    )


def _bytes_words(octets: float) -> str:
    return f"{number_words(octets)} bytes"


def _difference(one: _Run, other: _Run) -> str:
    """How many bytes the other takes more or fewer than the one, and which share of it that is."""
    octets = other.told.octets - one.told.octets
    share = share_words(abs(octets) / one.told.octets)
    return f"{number_words(abs(octets))} bytes {'fewer' if octets < 0 else 'more'} ({share})"
