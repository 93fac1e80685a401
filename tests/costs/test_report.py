"""The account of a real run: its sums agree, and it says what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynctls.costs.report import Group, Handshake

if TYPE_CHECKING:
    from asynctls.costs.report import Conversation, Report

THE_ORIGINALS = (
    Group.HELLOS,
    Group.CERTIFICATES,
    Group.KEY_EXCHANGE,
    Group.CERTIFICATE_VERIFY,
    Group.FINISHED,
    Group.SHARED_SECRET,
    Group.MESSAGES,
    Group.RECEIPTS,
    Group.CLOSE,
)


def the(report: Report, **wanted: object) -> Conversation:
    """The one conversation with these attributes."""
    (found,) = (
        each
        for each in report.conversations
        if all(getattr(each, name) == value for name, value in wanted.items())
    )
    return found


def test_every_sum_agrees(report: Report) -> None:
    for each in report.conversations:
        octets = sum(message.octets for message in each.messages)
        assert each.octets == octets == sum(group.octets for group in each.groups.values())
        for group in each.groups.values():
            assert group.octets == sum(group.by_sender.values())
        assert each.payload == sum(message.payload for message in each.messages)
        assert each.overhead == pytest.approx(1 - each.payload / octets)


def test_the_story_has_every_group_of_the_original(report: Report) -> None:
    story = report.conversations[0]
    assert (story.kind, story.key_type, story.handshake) == ("session", "rsa-2048", Handshake.FULL)
    assert story.sent_messages == 1
    assert [group for group in THE_ORIGINALS if group not in story.groups] == []
