"""A command that runs for a while, and that a signal ends in good order: nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from asynctls.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["stopped_by_signals"]

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Turns SIGTERM and SIGHUP into a cancellation of the task that enters.

    Ctrl-C needs nothing here: the loop's runner cancels on it.

    Raises:
        DemoError: one of them came.
    """
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    told = []

    def stop(number: signal.Signals) -> None:
        told.append(number)
        if main is not None:
            main.cancel()

    for number in _NUMBERS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    except asyncio.CancelledError:
        if told:
            raise DemoError(f"stopped by {told[0].name}") from None
        raise
    finally:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
