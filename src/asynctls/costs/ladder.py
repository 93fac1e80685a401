"""The exchange as a sequence diagram for a terminal: lifelines, and an arrow for each message.

A line is solid where the message went in the clear, and dotted where only the two ends could read
it; colours go by group, and nothing is said by a colour alone. It takes the width that its names
need, less where there is less: then a name is cut, but never where the output is no terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from asynctls.costs.report import Group
from asynctls.costs.words import GROUP_WORDS, SIDE_WORDS
from asynctls.words import number_words, time_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.segment import Segment

    from asynctls.costs.report import Conversation, Message, Report

__all__ = ["GROUP_COLOURS", "Ladder", "ladder", "story"]

GROUP_COLOURS: Mapping[Group, str] = {
    Group.HELLOS: "cyan",
    Group.CERTIFICATES: "yellow",
    Group.KEY_EXCHANGE: "magenta",
    Group.CERTIFICATE_VERIFY: "bright_red",
    Group.FINISHED: "blue",
    Group.TICKETS: "bright_black",
    Group.SHARED_SECRET: "bright_magenta",
    Group.MESSAGES: "green",
    Group.RECEIPTS: "bright_green",
    Group.CLOSE: "red",
    Group.CA_CHAIN: "bright_yellow",
    Group.CSR: "bright_cyan",
    Group.CERTIFICATE: "bright_yellow",
    Group.CRLS: "bright_blue",
}

_ORDER = ("client", "ttp", "server")
_TIME_WIDTH = 10
_OCTETS_WIDTH = 9
_LEAST_BETWEEN = 12
# Around a name: its line's first sign, a space on either side, two signs and the head.
_AROUND_A_NAME = 6


def story(report: Report) -> tuple[Conversation, ...]:
    """What a ladder shows of a report: how the client joined, if it did, and its first session.

    The server joins in the same way.
    """
    first = report.conversations[0]
    joining = (
        each
        for each in report.conversations
        if each.joins
        and each.key_type == first.key_type
        and any(message.sender == "client" for message in each.messages)
    )
    return (*sorted(joining, key=lambda each: each.began_us), first)


def ladder(*conversations: Conversation) -> Ladder:
    """The conversations below one another, as something that `rich` prints."""
    present = {each for told in conversations for m in told.messages for each in _ends(m)}
    return Ladder(conversations, tuple(each for each in _ORDER if each in present))


@dataclass(frozen=True, slots=True)
class Ladder:
    """The diagram; ``lifelines`` from left to right."""

    conversations: tuple[Conversation, ...]
    lifelines: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Called by `rich`."""
        drawing = _Drawing(self.lifelines, self._between(options.max_width))
        yield from _line(console, drawing.heading())
        for told in self.conversations:
            yield from _line(console, drawing.idle())
            for text in _about(told, drawing.width):
                yield from _line(console, text)
            for message in told.messages:
                yield from _line(console, drawing.arrow(message))
        yield from _line(console, drawing.idle())
        present = {m.group for told in self.conversations for m in told.messages}
        yield _legend([each for each in Group if each in present])

    def _between(self, max_width: int) -> int:
        """How far the lifelines are apart."""
        gaps = max(1, len(self.lifelines) - 1)
        wanted = max(
            -(-(len(_label(m)) + _AROUND_A_NAME) // self._steps(m))
            for told in self.conversations
            for m in told.messages
        )
        room = (max_width - _TIME_WIDTH - _OCTETS_WIDTH - 1) // gaps
        return max(_LEAST_BETWEEN, min(max(wanted, 60 // gaps), room))

    def _steps(self, message: Message) -> int:
        sender, receiver = (self.lifelines.index(each) for each in _ends(message))
        return abs(receiver - sender)


class _Drawing:
    """Lines of one width."""

    def __init__(self, lifelines: Sequence[str], between: int) -> None:
        self._at = {each: i * between for i, each in enumerate(lifelines)}
        self._span = between * (len(lifelines) - 1) + 1
        self.width = _TIME_WIDTH + self._span + _OCTETS_WIDTH

    def heading(self) -> Text:
        """Whose lifelines they are."""
        signs = [" "] * self._span
        for each, at in self._at.items():
            name = SIDE_WORDS[each]
            begin = min(max(0, at - len(name) // 2), self._span - len(name))
            signs[begin : begin + len(name)] = name
        return Text.assemble(
            (f"{'time':<{_TIME_WIDTH}}", "dim"),
            ("".join(signs), "bold"),
            (f"{'bytes':>{_OCTETS_WIDTH}}", "dim"),
        )

    def idle(self) -> Text:
        """The lifelines alone."""
        return Text(" " * _TIME_WIDTH + self._lifelines())

    def arrow(self, message: Message) -> Text:
        """A message on its way."""
        sender, receiver = (self._at[each] for each in _ends(message))
        left, right = min(sender, receiver), max(sender, receiver)
        line = "┄" if message.encrypted else "─"
        inside = right - left - 1
        name = f" {_cut(_label(message), inside - _AROUND_A_NAME + 2)} "
        if sender < receiver:
            shaft = f"{line}{name}".ljust(inside - 1, line) + "▶"
        else:
            shaft = "◀" + f"{name}{line}".rjust(inside - 1, line)
        lifelines = self._lifelines()
        crossed = "".join(
            "┼" if sign == line and lifelines[left + 1 + i] == "│" else sign
            for i, sign in enumerate(shaft)
        )
        return Text.assemble(
            (f"{time_words(message.at_us / 1e6):<{_TIME_WIDTH}}", "dim"),
            lifelines[: left + 1],
            (crossed, GROUP_COLOURS[message.group]),
            lifelines[right:],
            f"{number_words(message.octets):>{_OCTETS_WIDTH}}",
        )

    def _lifelines(self) -> str:
        at = set(self._at.values())
        return "".join("│" if i in at else " " for i in range(self._span))


def _about(told: Conversation, width: int) -> Iterator[Text]:
    facts = ", ".join(
        (
            told.cipher,
            f"{number_words(told.octets)} bytes",
            f"{told.round_trips} round trips",
            time_words(told.duration_us / 1e6),
        )
    )
    for words, style in ((told.title, "bold"), (facts, "dim")):
        yield Text(_cut(words, width), style=style)


def _legend(groups: Sequence[Group]) -> Text:
    text = Text("── in the clear   ┄┄ encrypted  ")
    for group in groups:
        text.append(f" {GROUP_WORDS[group]} ", style=GROUP_COLOURS[group])
    return text


def _line(console: Console, text: Text) -> Iterator[Segment]:
    yield from text.render(console, end="\n")


def _ends(message: Message) -> tuple[str, str]:
    return message.sender, message.receiver


def _label(message: Message) -> str:
    return message.name if message.alike == 1 else f"{number_words(message.alike)} {message.name}"


def _cut(words: str, width: int) -> str:
    return words if len(words) <= width else f"{words[: width - 1]}…"
