"""One worker as its supervisor sees it: a process, and this end of the channel to it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from asynctls.errors import WorkerError
from asynctls.logger import get_logger
from asynctls.runtime.channel import (
    Accepting,
    Answer,
    Ask,
    Begin,
    Channel,
    Family,
    Reload,
    Reloaded,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asynctls.runtime.channel import Order, Report

__all__ = ["CHANNEL_VARIABLE", "WorkerProcess", "in_words"]

log = get_logger()
_T = TypeVar("_T")

CHANNEL_VARIABLE = "ASYNCTLS_CHANNEL"
"""Names the descriptor of a worker's end of the channel, which marks it as one."""

# Our own variables, a join string among them, are no business of a worker's, but for its loop's.
_OURS = "ASYNCTLS_"
_LOOP = "ASYNCTLS_LOOP"
# After it has closed the channel, which it does last.
_END_S = 5.0
_MOST_UNANSWERED = 8


class WorkerProcess:
    """From its start to its end.

    Attributes:
        accepting: whether it takes connections.
        pid: its process's number.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        channel: Channel[Report],
        *,
        on_accepting: Callable[[], None],
        on_wanted: Callable[[], None],
    ) -> None:
        self.accepting = False
        self.pid = process.pid
        self._process = process
        self._on_accepting = on_accepting
        self._channel = channel
        self._on_wanted = on_wanted
        self._answers: list[asyncio.Future[list[Family]]] = []
        self._reloads: list[asyncio.Future[str | None]] = []

    @classmethod
    @asynccontextmanager
    async def started(
        cls,
        command: Sequence[str],
        *,
        number: int,
        sockets: Sequence[tuple[str, socket.socket]],
        config: Callable[[], bytes],
        on_accepting: Callable[[], None],
        on_wanted: Callable[[], None],
    ) -> AsyncIterator[WorkerProcess]:
        """Starts one, which does not outlive the context.

        Args:
            command: the program and its arguments.
            number: which one, from 1.
            sockets: what it listens on, each with its setting's name.
            config: called for what to do, pickled, once there is a process to be told.
            on_accepting: called when it takes connections.
            on_wanted: called when it wants news of the TTP.

        Raises:
            OSError: it cannot be started.
        """
        ours, its = socket.socketpair()
        with ours, its:
            named = [(name, one.fileno()) for name, one in sockets]
            # Alone in its session: a terminal's Ctrl-C is for the supervisor, who passes it on.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                env=_environ(its.fileno()),
                pass_fds=(its.fileno(), *(descriptor for _, descriptor in named)),
                start_new_session=True,
            )
            its.close()
            try:
                async with await Channel.to_worker(ours) as channel:
                    channel.send(Begin(worker=number, sockets=named, config=config()))
                    worker = cls(process, channel, on_accepting=on_accepting, on_wanted=on_wanted)
                    try:
                        yield worker
                    finally:
                        worker._ended()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def tell(self, order: Order) -> None:
        """Gives an order that nothing is answered to."""
        self._channel.send(order)

    def ask(self, *, count: bool) -> asyncio.Future[list[Family]]:
        """Its answer, once it comes; cancelled when the worker ends before, or long owes others.

        Args:
            count: whether it is to say what it has counted.
        """
        answer: asyncio.Future[list[Family]] = asyncio.get_running_loop().create_future()
        if count and len(self._answers) >= _MOST_UNANSWERED:
            # It hangs, and is asked at each scrape: that must not add up.
            answer.cancel()
            return answer
        self._answers.append(answer)
        self._channel.send(Ask(count))
        return answer

    def reload(self, config: bytes) -> asyncio.Future[str | None]:
        """Has it reload; why it could not, or None, once it says so; likewise."""
        done: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._reloads.append(done)
        self._channel.send(Reload(config))
        return done

    async def run(self) -> int:
        """Listens to it until it has ended.

        Returns:
            Its exit code; below 0: the signal that ended it.
        """
        try:
            while (report := await self._channel.receive()) is not None:
                self._take(report)
        except WorkerError as error:
            log.error("worker not understood", error=error)  # noqa: TRY400
            self._kill()
        self.accepting = False
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                return await self._process.wait()
        self._kill()
        return await self._process.wait()

    def _take(self, report: Report) -> None:
        match report:
            case Accepting():
                self.accepting = True
                self._on_accepting()
            case Wanted():
                self._on_wanted()
            case Answer(families) if self._answers:
                _answer(self._answers.pop(0), families)
            case Reloaded(problem) if self._reloads:
                _answer(self._reloads.pop(0), problem)
            case _:
                raise WorkerError(f"it answered what nobody asked: {type(report).__name__}")

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def _ended(self) -> None:
        for answer in self._answers:
            answer.cancel()
        for done in self._reloads:
            done.cancel()


def in_words(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _environ(channel: int) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) or name == _LOOP
    }
    return kept | {CHANNEL_VARIABLE: str(channel)}


def _answer(future: asyncio.Future[_T], value: _T) -> None:
    if not future.done():
        future.set_result(value)
