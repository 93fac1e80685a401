"""Signals as a daemon means them: the first one drains, the second ends at once, SIGHUP reloads."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, TypeVar

from asynctls.errors import AsynctlsError
from asynctls.logger import get_logger
from asynctls.runtime.notifying import ServiceManager
from asynctls.runtime.unless import unless

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType
    from typing import Self

__all__ = ["Signals"]

log = get_logger()
T = TypeVar("T")

_STOP = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """SIGTERM, SIGINT and SIGHUP while the context lasts; before and after, what was set before.

    Only in the main thread. Reloads never run beside one another: signals that come while one
    runs lead to one more. What happens is told to the service manager that started the process,
    if one did.

    Attributes:
        stopping: set by the first SIGTERM or SIGINT.
        aborting: set by the second.
    """

    def __init__(
        self,
        *,
        on_reload: Callable[[], Awaitable[None]],
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        """Handles nothing yet.

        Args:
            on_reload: what SIGHUP does.
            alive: whether all that the daemon consists of still answers; asked each time that its
                manager wants to hear so. That the loop turns is shown by its being asked.
        """
        self.stopping = asyncio.Event()
        self.aborting = asyncio.Event()
        self._on_reload = on_reload
        self._reload_wanted = asyncio.Event()
        self._alive = alive
        self._tasks: list[asyncio.Task[None]] = []
        self._manager = ServiceManager()
        self._before: dict[signal.Signals, object] = {}

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._before = {number: signal.getsignal(number) for number in (*_STOP, signal.SIGHUP)}
        for number in _STOP:
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        self._manager = ServiceManager.taken_from(os.environ, pid=os.getpid())
        self._manager.status("starting")
        self._tasks.append(asyncio.create_task(self._reload()))
        if self._manager.watchdog_s is not None:
            self._tasks.append(asyncio.create_task(self._show_life(self._manager.watchdog_s)))
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        for number, handler in self._before.items():
            loop.remove_signal_handler(number)
            if callable(handler) or isinstance(handler, signal.Handlers):
                signal.signal(number, handler)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def ready(self, status: str) -> None:
        """The daemon does its work now; its manager is told so.

        Args:
            status: what it does, in a few words for a person.
        """
        self._manager.ready(status)

    async def unless_stopping(self, work: Coroutine[object, None, T]) -> T | None:
        """Does some work to its end, or until the first signal to stop, which cancels it.

        Returns:
            What the work returned; None when it was stopped.
        """
        return await unless(self.stopping, work)

    def _stop(self, number: signal.Signals) -> None:
        if self.stopping.is_set():
            self.aborting.set()
            log.warning("ending at once", signal=number.name)
        else:
            self.stopping.set()
            log.info("stopping", signal=number.name)
            self._manager.stopping()

    async def _reload(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            if self.stopping.is_set():
                # What drains opens nothing new.
                continue
            log.info("reloading", signal="SIGHUP")
            self._manager.reloading()
            failure: str | None = None
            try:
                await self._on_reload()
            except AsynctlsError as error:
                failure = str(error)
                log.error("reload failed", error=error)  # noqa: TRY400 - the message says it all
            except Exception as error:
                failure = type(error).__name__
                log.exception("reload failed")
            self._manager.reloaded(failure)

    async def _show_life(self, interval_s: float) -> None:
        while True:
            if self._alive():
                self._manager.alive()
            await asyncio.sleep(interval_s)
