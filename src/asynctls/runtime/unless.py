"""Work that an event cuts short."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["unless"]

T = TypeVar("T")


async def unless(event: asyncio.Event, work: Coroutine[object, None, T]) -> T | None:
    """Does some work to its end, or until the event, which cancels it.

    Returns:
        What the work returned; None when it was cut short.
    """
    task = asyncio.create_task(work)
    happens = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, happens), return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        task.cancel()
        happens.cancel()
        await asyncio.gather(task, happens, return_exceptions=True)
