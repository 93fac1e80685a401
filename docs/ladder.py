"""Makes docs/ladder.svg, the README's picture, from a run: `.venv/bin/python docs/ladder.py`.

It shows what `asynctls costs` shows on a terminal; of each way to join, the handshake is one arrow.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from asynctls import logs
from asynctls.costs.ladder import story
from asynctls.costs.report import Group
from asynctls.costs.run import measure
from asynctls.costs.words import GROUP_WORDS
from asynctls.words import number_words, time_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynctls.costs.report import Conversation, Message

_HERE = Path(__file__).parent
_LIFELINES = {"client": 110, "ttp": 380, "server": 650}
_HEAD, _ROW, _SECTION = 46, 21, 28
# Each with a contrast of 4.5 on white at least.
_COLOURS = {
    Group.HELLOS: "#0369a1",
    Group.CERTIFICATES: "#b45309",
    Group.KEY_EXCHANGE: "#7c3aed",
    Group.CERTIFICATE_VERIFY: "#be123c",
    Group.FINISHED: "#1d4ed8",
    Group.TICKETS: "#475569",
    Group.SHARED_SECRET: "#a21caf",
    Group.MESSAGES: "#15803d",
    Group.RECEIPTS: "#0f766e",
    Group.CLOSE: "#b91c1c",
    Group.CA_CHAIN: "#92400e",
    Group.CSR: "#0e7490",
    Group.CERTIFICATE: "#9f1239",
    Group.CRLS: "#4338ca",
}


@dataclass(frozen=True)
class _Arrow:
    y: int
    begin: int
    end: int
    name: str
    octets: str
    time: str
    colour: str
    encrypted: bool
    both_ways: bool = False


@dataclass(frozen=True)
class _Heading:
    y: int
    title: str
    about: str


def picture(conversations: tuple[Conversation, ...]) -> str:
    """The SVG: no script, no font and nothing else of anybody's elsewhere."""
    headings, arrows = [], []
    y = _HEAD
    for told in conversations:
        about = f"{number_words(told.octets)} bytes, {time_words(told.duration_us / 1e6)}"
        headings.append(_Heading(y + _SECTION - 8, told.title, about))
        y += _SECTION
        for arrow in _arrows(told, y):
            arrows.append(arrow)
            y = arrow.y + _ROW // 2
        y += _ROW // 2
    groups = {m.group for told in conversations for m in told.messages}
    loader = jinja2.FileSystemLoader(_HERE)
    template = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("ladder.svg.j2")
    return template.render(
        headings=headings,
        arrows=arrows,
        lifelines=_LIFELINES,
        bottom=y,
        legend=[(GROUP_WORDS[each], _COLOURS[each]) for each in Group if each in groups],
        cipher=conversations[-1].cipher,
    )


def _arrows(told: Conversation, y: int) -> Iterator[_Arrow]:
    messages = list(told.messages)
    if told.kind != "session":
        shaken = next(i for i, each in enumerate(messages) if each.payload or "GET" in each.name)
        handshake, messages = messages[:shaken], messages[shaken:]
        y += _ROW
        yield _Arrow(
            y=y,
            begin=_LIFELINES["client"],
            end=_LIFELINES["ttp"],
            name=f"handshake, {len(handshake)} messages",
            octets=number_words(sum(each.octets for each in handshake)),
            time=time_words(handshake[0].at_us / 1e6),
            colour=_COLOURS[Group.HELLOS],
            encrypted=False,
            both_ways=True,
        )
    for message in messages:
        y += _ROW
        yield _arrow(message, y)


def _arrow(message: Message, y: int) -> _Arrow:
    return _Arrow(
        y=y,
        begin=_LIFELINES[message.sender],
        end=_LIFELINES[message.receiver],
        name=message.name,
        octets=number_words(message.octets),
        time=time_words(message.at_us / 1e6),
        colour=_COLOURS[message.group],
        encrypted=message.encrypted,
    )


if __name__ == "__main__":
    logs.configure(level="warning")
    made = picture(story(asyncio.run(measure())))
    (_HERE / "ladder.svg").write_text(made, encoding="utf-8")
