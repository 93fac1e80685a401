"""The ladder and the tables as a terminal shows them, and as a file has them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from asynctls.costs.ladder import ladder, story
from asynctls.costs.report import Group, Handshake
from asynctls.costs.tables import tables
from asynctls.costs.words import GROUP_WORDS
from asynctls.words import number_words, share_words, time_words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from asynctls.costs.report import Conversation, Message, Report


def drawn(*shown: RenderableType, width: int, terminal: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
    )
    for each in shown:
        console.print(each)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def arrows(told: Conversation, *, width: int) -> list[str]:
    """The lines of a conversation's messages."""
    lines = drawn(ladder(told), width=width).splitlines()
    return [line for line in lines if "▶" in line or "◀" in line]


def label(message: Message) -> str:
    return message.name if message.alike == 1 else f"{message.alike:,} {message.name}"


def test_the_story_is_how_the_client_joins_and_then_its_session(report: Report) -> None:
    told = story(report)
    assert [each.kind for each in told] == ["bootstrap", "enrolment", "session"]
    assert {m.sender for m in told[1].messages} == {"client", "ttp"}
    assert told[-1] is report.conversations[0]


def test_each_message_is_an_arrow_with_its_name_size_and_time(report: Report) -> None:
    for told in report.conversations:
        for message, line in zip(told.messages, arrows(told, width=1000), strict=True):
            assert f" {label(message)} " in line
            assert line.startswith(f"{time_words(message.at_us / 1e6)} ")
            assert line.endswith(f" {number_words(message.octets)}")


def test_it_points_to_whom_it_is_for_and_is_dotted_when_it_is_encrypted(report: Report) -> None:
    told = report.conversations[0]
    assert {m.encrypted for m in told.messages} == {True, False}
    for message, line in zip(told.messages, arrows(told, width=80), strict=True):
        assert ("▶│" in line) is (message.receiver == "server")
        assert ("│◀" in line) is (message.receiver == "client")
        assert ("┄" in line) is message.encrypted
        assert ("─" in line) is not message.encrypted


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_gets_no_line_that_is_wider_than_it_is(report: Report, width: int) -> None:
    lines = drawn(ladder(*story(report)), tables(report), width=width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert sum("▶" in line or "◀" in line for line in lines) == sum(
        len(told.messages) for told in story(report)
    )
    (head,) = (line for line in lines if "TTP" in line and "server" in line and "time" in line)
    assert head.index("client") < head.index("TTP") < head.index("server")


def test_a_narrow_terminal_breaks_lines_between_words_and_no_figure(report: Report) -> None:
    words = drawn(tables(report), width=60).partition("the client joins")[0].split()
    for group in report.conversations[0].groups:
        assert set(GROUP_WORDS[group].split()) <= set(words)
    for told in report.conversations:
        if not told.joins:
            assert number_words(told.octets) in words
            assert share_words(told.overhead).split()[0] in words


def test_elsewhere_nothing_is_cut_folded_or_coloured(report: Report) -> None:
    text = drawn(ladder(*story(report)), tables(report), width=1000)
    assert "\x1b" not in text
    for message in (m for told in story(report) for m in told.messages):
        assert f" {label(message)} " in text
    for note in report.notes:
        assert note in text
    for operation in report.operations:
        assert operation.words in text


def test_on_a_terminal_groups_have_colours(report: Report) -> None:
    text = drawn(ladder(report.conversations[0]), width=80, terminal=True)
    by_words = {line.split("m─ ")[-1].split(" ")[0]: line for line in text.splitlines()}
    assert "\x1b[36m─ ClientHello" in by_words["ClientHello"]
    assert "\x1b[33m─ Certificate" in by_words["Certificate"]


def test_the_tables_have_every_group_and_sum_of_the_report(report: Report) -> None:
    text = drawn(tables(report), width=1000)
    for told in report.conversations:
        if told.kind in ("session", "tls"):
            assert number_words(told.octets) in text
            assert share_words(told.overhead) in text
    for group in report.conversations[0].groups:
        assert GROUP_WORDS[group] in text
    for key_type in ("RSA 2048", "ECDSA P-256"):
        assert f"Computation with {key_type}" in text
    assert f"takes RSA {report.aes_against_rsa:,.0f} times as long" in text
    for told in report.conversations:
        if told.sent_messages == 1000:
            each = f"{told.octets / 1000:,.1f}"
            assert any(line.split()[-1:] == [each] for line in text.splitlines())
    joining = [
        each
        for each in report.conversations
        if any(message.sender == "client" for message in each.messages)
        and (each.kind, each.key_type) in {("bootstrap", "rsa-2048"), ("enrolment", "rsa-2048")}
    ]
    overhead = sum(each.octets - each.payload for each in joining) / sum(
        each.octets for each in joining
    )
    assert f"of it overhead {share_words(overhead)}" in " ".join(
        text.partition("the client joins")[2].split()
    )
    (certificates,) = (
        line.split()
        for line in text.partition("the client joins")[0].splitlines()
        if line.split()[:1] == ["certificates"]
    )
    whole = [
        told.groups[Group.CERTIFICATES].octets
        for told in report.conversations
        if (told.kind, told.sent_messages, told.handshake) == ("session", 1, Handshake.FULL)
    ]
    assert certificates[1:3] == [number_words(n) for n in whole]


def test_a_report_of_one_connection_has_no_table_of_what_it_lacks(report: Report) -> None:
    one = replace(
        report, conversations=report.conversations[:1], operations=(), aes_against_rsa=0.0
    )
    assert "TTP" not in drawn(ladder(*story(one)), width=1000)
    text = drawn(tables(one), width=1000)
    assert "Bytes on the wire: session, 1 message" in text
    for absent in ("the client joins", "one message and many", "Computation", "AES against"):
        assert absent not in text


def test_what_the_operations_were_needed_for_is_told_as_it_was(report: Report) -> None:
    run = "Computation with RSA 2048: both joining, and one session of 1 message\n"
    assert run in unpadded(drawn(tables(report), width=1000))
    alone = replace(
        report,
        conversations=tuple(each for each in report.conversations if each.sent_messages == 1000),
    )
    run = "Computation with RSA 2048: one session of 1,000 messages\n"
    assert run in unpadded(drawn(tables(alone), width=1000))


def unpadded(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())
