"""A thread for what may block without end: standard input that says nothing, a pipe nobody reads.

The loop's own threads are awaited when it closes, so that one of these would keep the process from
ending. This one is not waited for.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SideThread"]

T = TypeVar("T")


class SideThread:
    """Makes calls one after another, in the order in which they were asked for.

    A call must hold no lock that the interpreter wants at its end: read and write by ``os.read``
    and ``os.write``, not by ``sys.stdin`` and ``sys.stdout``.
    """

    def __init__(self, name: str) -> None:
        """The thread, of that name, starts with the first call, and ends with the process."""
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._started = False

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Has ``function`` called; what it returns or raises is the future's.

        Cancelling the future does not end a call that has begun: shield it, and await it again,
        where its result must not be lost.
        """
        if not self._started:
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
            self._started = True
        answer: Future[T] = Future()
        self._calls.put(partial(_answer, answer, function))
        return asyncio.wrap_future(answer)

    def _serve(self) -> None:
        while True:
            self._calls.get()()


def _answer(answer: Future[T], function: Callable[[], T]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(function())
    except Exception as error:  # noqa: BLE001 - handed on to whoever waits
        answer.set_exception(error)
