"""The reader itself: what a guide may not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import blocks
from tests.docs.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.conftest import LogWatch


@pytest.fixture
def read(tmp_path: Path, logged: LogWatch) -> Callable[[str], Awaitable[Path]]:
    """Reads a page with this text, and gives the folder where it was done."""

    async def do(text: str) -> Path:
        page = tmp_path / "page.md"
        page.write_text(text)
        async with Reader(tmp_path / "reader", logged, ports=(), instead={}) as reader:
            for block in blocks(page):
                await reader.read(block)
        return reader.folder

    return do


async def test_a_command_is_run_with_its_continuation_and_prints_what_is_shown(
    read: Callable[[str], Awaitable[Path]],
) -> None:
    await read("```console\n$ printf '%s\\n' one \\\n      2025-01-02  # why\none\n2026…\n```")


@pytest.mark.parametrize(
    ("command", "told"), [("echo one\ntwo", "does not print"), ("false", "exit 1")]
)
async def test_a_command_that_fails_or_prints_something_else_is_found_out(
    read: Callable[[str], Awaitable[Path]], command: str, told: str
) -> None:
    with pytest.raises(AssertionError, match=told):
        await read(f"```console\n$ {command}\n```")


async def test_python_that_fails_is_found_out(read: Callable[[str], Awaitable[Path]]) -> None:
    with pytest.raises(ZeroDivisionError):
        await read("```python\nawait asyncio.sleep(0)\n1 / 0\n```")


async def test_python_is_one_program_from_block_to_block(
    read: Callable[[str], Awaitable[Path]],
) -> None:
    await read(
        "```python\nimport asyncio\nn = 1\nasync def f(): return n\n```\n"
        "```python\nassert await f() == 1\nasyncio.run(f())\n```"
    )


async def test_a_file_that_is_shown_is_written_with_ports_of_our_own(
    read: Callable[[str], Awaitable[Path]],
) -> None:
    folder = await read('```toml\n# a.toml\nlisten = "127.0.0.1:8443"\n```')
    text = (folder / "a.toml").read_text()
    assert "127.0.0.1:" in text
    assert "8443" not in text


async def test_what_listens_stays_until_the_page_says_that_it_is_stopped(
    read: Callable[[str], Awaitable[Path]],
) -> None:
    stays = "trap 'touch ended' EXIT; echo '{\"event\": \"listening\"}'; sleep 60 & wait"
    await read(
        f"```console\n$ {stays}\n```\n\n```console\n$ test ! -e ended\n```\n\n"
        "<!-- stop -->\n```console\n$ test -e ended\n```"
    )


async def test_what_ends_although_it_was_to_stay_is_found_out(
    read: Callable[[str], Awaitable[Path]],
) -> None:
    says = 'mkfifo fifo; echo $$ >pid; echo \'{"event": "listening"}\'; read -r line <fifo; exit 3'
    gone = "echo >fifo; while kill -0 $(cat pid) 2>/dev/null; do :; done"
    with pytest.raises(AssertionError, match="ended with exit 3"):
        await read(f"```console\n$ {says}\n$ {gone}\n```")


async def test_what_cannot_be_run_is_left_out_and_that_alone(
    read: Callable[[str], Awaitable[Path]],
) -> None:
    mark = "<!-- not run: it needs systemd -->"
    await read(f"{mark}\n```console\n$ false\n```\n")
    with pytest.raises(AssertionError, match="exit 1"):
        await read(f"{mark}\n```console\n$ false\n```\n\n```console\n$ false\n```")
    with pytest.raises(AssertionError, match="exit 1"):
        await read(f"{mark}\n\nIn between.\n\n```console\n$ false\n```")
