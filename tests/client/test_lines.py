"""Standard input in lines, whatever blocks it comes in and whatever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import os

import pytest

from asynctls.client.lines import Lines
from asynctls.errors import InputError


async def test_blocks_are_put_together_to_lines() -> None:
    ours, its = os.pipe()
    lines = Lines(ours)
    os.write(its, b"one\n\ntw")
    assert [await lines.next(), await lines.next()] == [b"one", b""]
    os.write(its, b"o\nthree")
    assert await lines.next() == b"two"
    os.close(its)
    assert [await lines.next(), await lines.next(), await lines.next()] == [b"three", None, None]
    os.close(ours)


async def test_cancelling_the_wait_loses_nothing() -> None:
    ours, its = os.pipe()
    lines = Lines(ours)
    for _ in range(3):
        waiting = asyncio.create_task(lines.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
    os.write(its, b"still here\n")
    assert await lines.next() == b"still here"
    os.close(its)
    assert await lines.next() is None
    os.close(ours)


async def test_what_cannot_be_read_says_so() -> None:
    ours, its = os.pipe()
    os.close(ours)
    with pytest.raises(InputError, match="Bad file descriptor"):
        await Lines(ours).next()
    os.close(its)
