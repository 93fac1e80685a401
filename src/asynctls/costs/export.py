"""The report as one JSON object: groups and operations by their names first, then all the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asynctls.costs.report import Cost, Group

if TYPE_CHECKING:
    from asynctls.costs.report import Operation, Report

__all__ = ["to_json"]


_ALWAYS = (
    Group.HELLOS,
    Group.CERTIFICATES,
    Group.KEY_EXCHANGE,
    Group.CERTIFICATE_VERIFY,
    Group.FINISHED,
    Group.TICKETS,
    Group.SHARED_SECRET,
    Group.MESSAGES,
    Group.RECEIPTS,
    Group.CLOSE,
)
_NOTHING = Cost(octets=0, records=0, by_sender={})


def to_json(report: Report) -> bytes:
    """Every figure of the report.

    The groups at the top level (`hellos`, `certificates` …) are those of the conversation that
    tells the story, the report's first; `ca_chain`, `csr`, `certificate` and `crls` are those of
    the first enrolment of its kind, where there is one. The operations (`rsa_sign`, `hmac` …) have
    beside their counts what these take in all (`totals`), in seconds.
    """
    rest: dict[str, object] = msgspec.to_builtins(report)
    del rest["operations"]
    return msgspec.json.encode(
        {group.value: cost for group, cost in _groups(report).items()}
        | {each.name: _operation(each) for each in report.operations}
        | rest
    )


def _groups(report: Report) -> dict[Group, Cost]:
    story = report.conversations[0].groups
    enrolment = next((each.groups for each in report.conversations if Group.CSR in each.groups), {})
    return {
        **dict.fromkeys(_ALWAYS, _NOTHING),
        **{group: cost for group, cost in enrolment.items() if group not in _ALWAYS},
        **story,
    }


def _operation(operation: Operation) -> dict[str, object]:
    return {
        "words": operation.words,
        "seconds": operation.seconds,
        "counts": operation.counts,
        "totals": operation.totals,
    }
