"""What a program reads is never folded, cut, coloured, or more than one line a row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from asynctls.cli.output import write_facts, write_json, write_table

if TYPE_CHECKING:
    import pytest

LONG = "a" * 500


def test_a_table_that_is_no_terminal_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(["NAME", "STATUS"], [[LONG, "valid"], ["b", "revoked"]])
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NAME", "STATUS"]
    assert first == f"{LONG}  valid"
    assert second.split() == ["b", "revoked"]


def test_a_table_without_rows_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(["NAME"], [])
    assert capsys.readouterr().out == ""


def test_a_name_cannot_begin_a_line_or_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(["NAME"], [["evil\nserver\x1b[2J"]])
    write_facts({"name": "evil\nserver"})
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 3
    assert "\x1b" not in printed


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_json([{"name": "a\nb"}, {"name": "ü"}])
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"name": "a\nb"}, {"name": "ü"}]
