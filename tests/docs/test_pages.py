"""What every page says of commands, config and library is so, also where it is not run."""

from __future__ import annotations

import ast
import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest
from markdown_it import MarkdownIt

import asynctls
from asynctls import cli
from asynctls.config import check_file
from tests.docs.pages import GUIDES, PAGES, ROOT, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What a shell ends one command with, and what nobody types as it stands there.
_ENDS = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "(", ")"})
_LEFT_OUT = re.compile(r"…|\.\.\.")


def typed(page: Path) -> Iterator[str]:
    """The command lines of a page."""
    for block in blocks(page):
        if block.language in ("console", "sh", ""):
            yield from (command.text for command in block.commands)


def said(page: Path) -> Iterator[str]:
    """The commands that stand as code in a sentence."""
    for token in MarkdownIt().parse(page.read_text()):
        for child in token.children or ():
            if child.type == "code_inline" and child.content.startswith("asynctls "):
                yield child.content


def calls(line: str) -> Iterator[list[str]]:
    """The words of each call of asynctls in a command line."""
    words = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    call: list[str] | None = None
    for word in words:
        if call is None and word == "asynctls":
            call = []
        elif call is not None and word in _ENDS:
            yield call
            call = None
        elif call is not None:
            call.append(word)
    if call is not None:
        yield call


def understand(words: list[str]) -> None:
    """Reads a call as the command line does, and runs nothing."""
    command: click.Command = cli.commands
    context: click.Context | None = None
    while True:
        context = command.make_context(command.name, words, parent=context)
        words = [*context._protected_args, *context.args]
        if not isinstance(command, click.Group) or not words:
            return
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_one_and_has_these_options(page: Path) -> None:
    # In a sentence an option may stand for itself, and a letter for a number.
    for lines, tolerated in (
        (typed(page), ()),
        (said(page), (click.BadOptionUsage, click.BadParameter)),
    ):
        for line in lines:
            for words in calls(line):
                if _LEFT_OUT.search(" ".join(words)):
                    continue
                try:
                    understand(words)
                except (click.exceptions.Exit, *tolerated):
                    pass
                except click.UsageError as error:
                    pytest.fail(f"{line!r}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_config_has_no_fault(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            file = tmp_path / "config.toml"
            file.touch(mode=0o600)
            file.write_text(block.text)
            assert check_file(file) == (), block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_all_python_is_python_and_uses_what_there_is(page: Path) -> None:
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text, str(block))):
            match node:
                case ast.Attribute(value=ast.Name(id="asynctls"), attr=name):
                    assert hasattr(asynctls, name) or name in ("errors", "testing"), block


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_from_the_pages_that_are_in_no_site_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize(
    "page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=lambda page: str(page.relative_to(ROOT))
)
def test_every_file_of_the_repository_that_is_named_is_there(page: Path) -> None:
    # Capitals stand for a name of the reader's own.
    for named in re.findall(r"`((?:tests|configs|docs|src)/[a-z0-9_./-]+)[:`]", page.read_text()):
        assert (ROOT / named).exists(), named


def test_the_site_leads_to_every_page() -> None:
    docs = ROOT / "docs"
    listed = set((docs / "index.md").read_text().splitlines())
    pages = {str(page.relative_to(docs).with_suffix("")) for page in docs.rglob("*.md")}
    # decisions/index lists its neighbours by itself.
    own = {page for page in pages if page.startswith("decisions/") and page != "decisions/index"}
    assert pages - own - {"index"} <= listed


def test_the_readme_leads_to_every_guide() -> None:
    readme = (ROOT / "README.md").read_text()
    # The quickstart is the README itself.
    names = {page.name for page in GUIDES.glob("*.md")} - {"quickstart.md"}
    assert not sorted(name for name in names if f"](docs/guide/{name})" not in readme)
