"""The report as one JSON object: groups and operations by their names first, then all the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from asynctls.costs.report import Operation, Report

__all__ = ["to_json"]


def to_json(report: Report) -> bytes:
    """Every figure of the report.

    The groups at the top level (`hellos`, `certificates` …) are those of the conversation that
    tells the story, the report's first; the operations (`rsa_sign`, `hmac` …) have beside their
    counts what these take in all (`totals`), in seconds.
    """
    rest: dict[str, object] = msgspec.to_builtins(report)
    del rest["operations"]
    story = report.conversations[0]
    return msgspec.json.encode(
        {group.value: cost for group, cost in story.groups.items()}
        | {each.name: _operation(each) for each in report.operations}
        | rest
    )


def _operation(operation: Operation) -> dict[str, object]:
    return {
        "words": operation.words,
        "seconds": operation.seconds,
        "counts": operation.counts,
        "totals": operation.totals,
    }
