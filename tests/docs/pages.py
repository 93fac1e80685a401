"""The documents as a reader sees them: blocks of code, commands with what they print."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

__all__ = ["GUIDES", "PAGES", "ROOT", "Block", "Command", "blocks"]

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
GUIDES = ROOT / "docs" / "guide"

# What stands before a block, invisible in the page.
_MARK = re.compile(r"<!-- (not run: (?P<why>.+?)|stop) -->\s*", re.DOTALL)
# A prompt: the reader's own, or root's, perhaps with the machine's name.
_PROMPT = re.compile(r"[a-z]*[$#] (.*)")
_FILE = re.compile(r"# (\S+\.(?:conf|cnf|py|sh|toml|yml))\n")


@dataclass(slots=True)
class Command:
    """What is typed, its continuation lines included, and what the page says that it prints."""

    text: str
    prints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code.

    Attributes:
        page: the document that it is in.
        line: where in it.
        language: what stands after the fence; empty for an indented block.
        text: its lines.
        not_run: why it cannot be run, from ``<!-- not run: why -->`` before it; None where it can.
        stops: whether what runs is stopped before it, from ``<!-- stop -->``: a reader would do so.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that it shows, where its first line says one: ``# app.py``."""
        found = _FILE.match(self.text)
        return found[1] if found else None

    @property
    def commands(self) -> list[Command]:
        """What is typed in it."""
        found: list[Command] = []
        unfinished = False
        for line in self.text.splitlines():
            if unfinished:
                found[-1].text += f"\n{line}"
            elif prompt := _PROMPT.fullmatch(line):
                found.append(Command(prompt[1]))
            elif found and line:
                found[-1].prints.append(line)
            unfinished = bool(found) and found[-1].text.endswith(("\\", "|"))
        return found


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in its order."""
    found = []
    mark = None
    for token in MarkdownIt().parse(page.read_text()):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            found.append(
                Block(
                    page,
                    token.map[0] + 1,
                    token.info.partition(" ")[0],
                    token.content,
                    not_run=mark["why"] if mark else None,
                    stops=mark is not None and mark["why"] is None,
                )
            )
        mark = _MARK.fullmatch(token.content) if token.type == "html_block" else None
    return found
