"""A program that left before it was told anything fails no test by that."""

from __future__ import annotations

import asyncio

from tests.given import give, on_stdin


async def test_a_program_finds_its_standard_input_even_if_it_leaves_first() -> None:
    with on_stdin(b"hello\n") as stdin:
        reads = await asyncio.create_subprocess_exec(
            "cat", stdin=stdin, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await reads.communicate()
    assert out == b"hello\n"
    with on_stdin(b"hello\n") as stdin:
        leaves = await asyncio.create_subprocess_exec("true", stdin=stdin)
        assert await leaves.wait() == 0


async def test_a_program_that_left_takes_no_more() -> None:
    left = await asyncio.create_subprocess_exec("true", stdin=asyncio.subprocess.PIPE)
    await left.wait()
    give(left, b"more\n")
