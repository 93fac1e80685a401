"""Worker processes, kept: started, started again when they die, told what to do, and ended.

The supervisor does not know what they work at. Each is this program once more, on a loop of its
own, with sockets that it inherits; the end of their channel is the end of whoever was at the other
end of it, so that no worker outlives its supervisor.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from asynctls.errors import WorkerError, WorkerStartError
from asynctls.logger import get_logger
from asynctls.runtime.backoff import Backoff
from asynctls.runtime.channel import Abort, Changed, Stop
from asynctls.runtime.unless import unless
from asynctls.runtime.worker_process import WorkerProcess, in_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import timedelta

    from asynctls.runtime.channel import Family, Order
    from asynctls.runtime.reserving import Reserved

__all__ = ["Supervisor"]

log = get_logger()

_ANSWER_S = 2.0
_RELOAD_S = 30.0
# From a worker's start until it accepts: importing a user's app is part of it.
_START_S = 60.0
_AFTER_DRAIN_S = 3.0
_ABORT_S = 2.0
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 10.0


class Supervisor:
    """Keeps a number of workers.

    Attributes:
        count: how many there are to be.
        restarts: how often one was started in the place of one that died.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        count: int,
        reserved: Sequence[Reserved],
        config: bytes,
        on_wanted: Callable[[], None],
    ) -> None:
        """Starts nothing yet.

        Args:
            command: the program and its arguments, which asks for its `appointment`.
            count: how many.
            reserved: what each listens on.
            config: what they are to do, pickled, for them to understand.
            on_wanted: called when a worker wants news of the TTP.
        """
        self.count = count
        self.restarts = 0
        self._command = tuple(command)
        self._reserved = tuple(reserved)
        self._config = config
        self._news: Changed | None = None
        self._on_wanted = on_wanted
        self._live: dict[int, WorkerProcess] = {}
        self._asked: list[asyncio.Future[list[Family]]] = []
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def accepting(self) -> int:
        """How many workers take connections now."""
        return len(self._at_work())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Workers while the context lasts: all accept when it begins, none lives when it ends.

        Raises:
            WorkerStartError: a worker ended by itself before it accepted.
            WorkerError: it could not be started, or was killed.
        """
        try:
            # One alone at first, so that what is wrong with all of them is said once.
            for numbers in (range(1, 2), range(2, self.count + 1)):
                await self._start(numbers)
            yield
        finally:
            self._stopping.set()
            for task in self._tasks:
                # Which kills what still lives.
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def changed(self, crl: str) -> None:
        """The state folder has something new; these are the CRLs, PEM."""
        # Also for those that are started later: the disk may have had no room for it.
        self._news = Changed(crl)
        self._tell(self._news)

    async def reload(self, config: bytes) -> None:
        """Has all workers take another config, and what is in the state folder; or none of them.

        Those that are started from now on begin with it.

        Raises:
            WorkerError: one could not, or did not say so in time; the config before is back.
        """
        before, self._config = self._config, config
        problems = await self._reload_all(config)
        if problems:
            self._config = before
            await self._reload_all(before)
            raise WorkerError("; ".join(problems))

    def alive(self) -> bool:
        """Whether whoever was asked the last time has answered since, or ended; asks anew."""
        if not all(each.done() for each in self._asked):
            return False
        self._asked = [each.ask(count=False) for each in self._at_work().values()]
        return True

    async def counted(self) -> dict[int, list[Family]]:
        """What each worker has counted; one that does not answer in two seconds is left out."""
        asked = {number: each.ask(count=True) for number, each in self._at_work().items()}
        if asked:
            await asyncio.wait(asked.values(), timeout=_ANSWER_S)
        return {
            number: answer.result()
            for number, answer in asked.items()
            if answer.done() and not answer.cancelled()
        }

    async def drain(self, drain: timedelta, *, aborting: asyncio.Event) -> None:
        """Has all workers end by themselves; leaving the context kills those that have not.

        Args:
            drain: how long each lets what is under way go on; it keeps to that.
            aborting: when it is set, they end at once.
        """
        self._stopping.set()
        self._tell(Stop())
        limit_s = drain.total_seconds() + _AFTER_DRAIN_S
        await unless(aborting, asyncio.wait(self._tasks, timeout=limit_s))
        self._tell(Abort())
        await asyncio.wait(self._tasks, timeout=_ABORT_S)
        if self._live:
            log.error("workers killed", workers=sorted(self._live))

    async def _reload_all(self, config: bytes) -> list[str]:
        # One that is starting began with the config before, and takes this one then.
        asked = {number: each.reload(config) for number, each in self._live.items()}
        if asked:
            await asyncio.wait(asked.values(), timeout=_RELOAD_S)
        problems = []
        for number, done in asked.items():
            if not done.done():
                problems.append(f"worker {number} did not answer in {_RELOAD_S:g} s")
            # One that ended meanwhile is started anew, with this config.
            elif not done.cancelled() and (problem := done.result()) is not None:
                problems.append(f"worker {number}: {problem}")
        return problems

    async def _start(self, numbers: Iterable[int]) -> None:
        accepting = {number: asyncio.Event() for number in numbers}
        tasks = [
            asyncio.create_task(self._keep(number, event)) for number, event in accepting.items()
        ]
        self._tasks += tasks
        all_accept = asyncio.create_task(_all_set(accepting.values()))
        try:
            await asyncio.wait((all_accept, *tasks), return_when=asyncio.FIRST_COMPLETED)
        finally:
            all_accept.cancel()
            await asyncio.gather(all_accept, return_exceptions=True)
        for task in tasks:
            # One that has ended could not start.
            if task.done():
                task.result()

    async def _keep(self, number: int, accepted: asyncio.Event) -> None:
        """One worker after another under this number, until all are to stop."""
        backoff = Backoff(first_s=_FIRST_DELAY_S, longest_s=_LONGEST_DELAY_S)
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            started = loop.time()
            try:
                how = await self._one(number, accepted)
            except OSError as error:
                how = f"not started: {error.strerror or error}"
            if self._stopping.is_set():
                return
            if not accepted.is_set():
                raise WorkerError(f"worker {number} did not come to accept connections: {how}")
            self.restarts += 1
            delay_s = backoff.delay_s(held_s=loop.time() - started)
            log.error("worker ended", worker=number, how=how, again_in_s=round(delay_s, 1))
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._stopping.wait()

    async def _one(self, number: int, accepted: asyncio.Event) -> str:
        """One worker, from its start to its end; how it ended."""
        until_it_accepts = asyncio.timeout(_START_S)
        with ExitStack() as stack:
            sockets = [
                (each.setting, stack.enter_context(one))
                for each in self._reserved
                for one in each.sockets()
            ]
            starting = WorkerProcess.started(
                self._command,
                number=number,
                sockets=sockets,
                # Not that of before it was started: a reload may have come meanwhile.
                config=lambda: self._config,
                on_accepting=partial(self._note, number, accepted, until_it_accepts),
                on_wanted=self._on_wanted,
            )
            async with starting as worker:
                # From now on they are its alone, and end with it.
                stack.close()
                self._live[number] = worker
                if self._news is not None:
                    worker.tell(self._news)
                if self._stopping.is_set():
                    # The others were told while it was being started.
                    worker.tell(Stop())
                log.info("worker started", worker=number, pid=worker.pid)
                try:
                    async with until_it_accepts:
                        code = await worker.run()
                except TimeoutError:
                    return f"killed, since it did not accept within {_START_S:g} s"
                finally:
                    del self._live[number]
        if code > 0 and not accepted.is_set():
            raise WorkerStartError(
                f"worker {number} ended with {in_words(code)} before it accepted", code=code
            )
        return in_words(code)

    def _note(self, number: int, accepted: asyncio.Event, limit: asyncio.Timeout) -> None:
        limit.reschedule(None)
        log.info("worker serves", worker=number)
        accepted.set()

    def _at_work(self) -> dict[int, WorkerProcess]:
        return {number: each for number, each in self._live.items() if each.accepting}

    def _tell(self, order: Order) -> None:
        for each in self._live.values():
            each.tell(order)


async def _all_set(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
