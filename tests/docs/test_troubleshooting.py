"""docs/guide/troubleshooting.md has whatever a person can meet: alerts, codes, events, errors."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import asynctls
from asynctls import errors
from asynctls.alerts import Alert
from asynctls.errors import ErrorCode
from asynctls.ttp.policy import Rule
from tests.docs.pages import GUIDES

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (GUIDES / "troubleshooting.md").read_text()
SOURCES = sorted(Path(asynctls.__file__).parent.rglob("*.py"))
LOUD = {"warning", "error", "critical", "exception"}
# How a call that logs spells its level and event: a function of its own, or `log` itself.
BY_NAME = {"_log_sparingly"}


def constants(node: ast.expr) -> Iterator[str]:
    """The texts that an expression can be."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from constants(body)
            yield from constants(orelse)


def loud_events() -> Iterator[str]:
    """The events that are logged as a warning or worse, anywhere in the package."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[event, *_]
                ) if level in LOUD:
                    yield from constants(event)
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr="log"), args=[_, event, *_]
                ):
                    yield from constants(event)
                case ast.Call(func=ast.Attribute(attr=name), args=[event, *_]) if name in BY_NAME:
                    yield from constants(event)


def test_every_alert_is_there() -> None:
    text = " ".join(PAGE.split())
    missing = [
        alert
        for alert in Alert
        if not re.search(rf"[ ,]{alert.value} {alert.words}( [|]|,|[.])", text)
    ]
    assert not missing


def test_every_error_code_of_a_session_is_there() -> None:
    words = {code: code.name.lower().replace("_", " ").replace("crl", "CRL") for code in ErrorCode}
    words[ErrorCode.TIME_OUT] = "time-out"
    missing = [code for code in ErrorCode if f"| {code.value} {words[code]} |" not in PAGE]
    assert not missing


def test_every_status_of_the_ttp_is_there() -> None:
    own = {
        int(status)
        for source in SOURCES
        for status in re.findall(r"\bstatus=(\d{3})\b", source.read_text())
    }
    missing = [status for status in own | {rule.status for rule in Rule} if str(status) not in PAGE]
    assert not missing


def test_every_event_that_is_a_warning_or_worse_is_there() -> None:
    events = set(loud_events())
    assert {"refused", "certificate ended", "OCSP request refused"} <= events
    missing = sorted(event for event in events if f"`{event}`" not in PAGE)
    assert not missing


def test_every_error_that_can_be_caught_is_there() -> None:
    classes = [name for name in errors.__all__ if name.endswith("Error")]
    missing = [name for name in classes if f"`{name}`" not in PAGE]
    assert not missing


def said_anywhere() -> str:
    """All that the package can say: every text in its code, with … for what is filled in."""
    texts = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            match node:
                case ast.Constant(value=str() as text):
                    texts.append(text)
                case ast.JoinedStr(values=values):
                    texts.append(
                        "".join(
                            str(each.value) if isinstance(each, ast.Constant) else "…"
                            for each in values
                        )
                    )
    return "\n".join(texts)


def test_every_line_that_is_explained_can_be_said() -> None:
    everything = said_anywhere()
    tables = re.findall(r"^\| the line says \|.*\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    lines = [
        row.split(" | ")[0].removeprefix("| ") for table in tables for row in table.splitlines()
    ]
    assert len(lines) > 40
    pieces = {
        piece.strip(" ():") for line in lines for piece in re.split(r"…|; |'[ab]'|\b[NM]\b", line)
    }
    assert not sorted(piece for piece in pieces if piece not in everything)
