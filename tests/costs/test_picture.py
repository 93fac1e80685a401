"""The README's picture of the ladder: made from a run, and from nothing that lies elsewhere."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asynctls.costs.ladder import story
from asynctls.words import number_words

if TYPE_CHECKING:
    from asynctls.costs.report import Report

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("ladder")


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def alone(svg: str) -> bool:
    links = re.findall(r"https?://[^\"' )]+|<script|@import|@font-face", svg)
    return set(links) == {"http://www.w3.org/2000/svg"}


def test_it_has_each_message_of_the_session_and_fetches_nothing(
    script: Any, report: Report
) -> None:
    svg = script.picture(story(report))
    assert alone(svg)
    shown = texts(svg)
    for message in report.conversations[0].messages:
        assert message.name in shown
        assert number_words(message.octets) in shown
    assert svg.count("stroke-dasharray") == 1 + sum(
        message.encrypted
        for told in story(report)
        for message in told.messages
        # Of a handshake with the TTP there is one arrow.
        if told.kind == "session" or message.name != "Finished"
    )


def test_the_one_that_is_kept_is_such_a_picture() -> None:
    svg = (DOCS / "ladder.svg").read_text()
    assert alone(svg)
    assert {"client", "TTP", "server", "ClientHello", "KEY", "DATA"} <= set(texts(svg))
    told = re.search(r"([\d,]+) for the session", (DOCS.parent / "README.md").read_text())
    assert told is not None
    assert any(text.startswith(f"{told[1]} bytes") for text in texts(svg))
