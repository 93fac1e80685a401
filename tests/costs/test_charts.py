"""Charts as values: how long a bar is, and what stands beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynctls.costs.byte_charts import byte_charts
from asynctls.costs.page import page
from asynctls.costs.time_charts import time_charts
from asynctls.words import number_words, time_words

if TYPE_CHECKING:
    from asynctls.costs.report import Report


def test_each_side_pays_for_an_operation_as_often_as_it_needs_it(report: Report) -> None:
    charts = {each.name: each for each in time_charts(report)}
    for key_type in ("rsa-2048", "ecdsa-p256"):
        bars = {bar.label: bar.total for bar in charts[f"time-{key_type}"].bars}
        assert bars == {
            words: time_words(
                sum(
                    each.seconds * each.counts[key_type][side]
                    for each in report.operations
                    if side in each.counts.get(key_type, {})
                    and not each.name.endswith("key_generation")
                )
            )
            for side, words in (("client", "client"), ("server", "server"), ("ttp", "TTP"))
        }


def test_of_many_messages_a_bar_is_one(report: Report) -> None:
    (chart,) = (each for each in byte_charts(report) if each.name == "messages")
    one, many = (
        next(
            each.octets
            for each in report.conversations
            if (each.kind, each.key_type, each.handshake, each.sent_messages)
            == ("session", "rsa-2048", "full", count)
        )
        for count in (1, 1000)
    )
    assert [bar.total for bar in chart.bars] == [
        f"{number_words(n)} bytes" for n in (one, many / 1000)
    ]
    lengths = [sum(segment.length for segment in bar.segments) for bar in chart.bars]
    assert lengths == pytest.approx([100, 100 * many / 1000 / one])


def test_the_headline_says_what_there_was_and_no_more(report: Report) -> None:
    story, many = report.conversations[:2]
    plain = replace(report.conversations[4], kind="session")
    assert "receipts" not in plain.groups
    one, thousand, without = (
        " ".join(page(replace(report, conversations=(each,))).split())
        for each in (story, many, plain)
    )
    assert "and the sender has a receipt. Most of that is paid once." in one
    assert "and the sender has a receipt." in thousand
    assert "paid once" not in thousand
    assert "by certificate, and nobody else can read or change a byte. Most of" in without


@pytest.mark.parametrize("counts", [(0, 2), (2, 0), (2, 5)])
def test_one_and_many_are_compared_only_where_there_was_one(
    report: Report, counts: tuple[int, int]
) -> None:
    story = report.conversations[0]
    twice = replace(
        report, conversations=tuple(replace(story, sent_messages=count) for count in counts)
    )
    assert byte_charts(twice) == []
    assert page(twice)
