"""What a worker is told, as a daemon means signals: `Signals` is for whoever has no supervisor."""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

import msgspec

from asynctls.errors import AsynctlsError, WorkerError
from asynctls.logger import get_logger
from asynctls.runtime.channel import (
    Abort,
    Accepting,
    Answer,
    Ask,
    Begin,
    Changed,
    Channel,
    Reload,
    Reloaded,
    Stop,
    Wanted,
    receive_begin,
)
from asynctls.runtime.inherited import InheritedSockets
from asynctls.runtime.unless import unless
from asynctls.runtime.worker_process import CHANNEL_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
    from typing import Self

    from asynctls.runtime.channel import Family, Order, Report

__all__ = ["Appointment", "Orders", "appointment"]

log = get_logger()
T = TypeVar("T")

_BEGIN_S = 30.0


class Appointment(msgspec.Struct, frozen=True):
    """That this process is a worker, and for what.

    Attributes:
        worker: which one, from 1.
        config: what it is to do.
        sockets: what it listens on.
        channel: its end of the channel.
    """

    worker: int
    config: object
    sockets: InheritedSockets
    channel: socket.socket


def appointment(environ: MutableMapping[str, str]) -> Appointment | None:
    """Whether a supervisor started this process as a worker; blocks until it has said what for.

    Args:
        environ: the environment; what marks a worker is removed.

    Raises:
        WorkerError: the mark is there, and no supervisor.
    """
    mark = environ.pop(CHANNEL_VARIABLE, "")
    if not mark:
        return None
    try:
        channel = socket.socket(fileno=int(mark))
    except (ValueError, OSError) as error:
        raise WorkerError(f"{CHANNEL_VARIABLE} is for the program itself: unset it") from error
    channel.set_inheritable(False)
    channel.settimeout(_BEGIN_S)
    try:
        begin = receive_begin(channel)
    except (OSError, WorkerError) as error:
        channel.close()
        raise WorkerError(f"the supervisor did not say what for: {error}") from error
    return Appointment(
        begin.worker,
        _unpickled(begin.config),
        InheritedSockets(begin.sockets, announced=True),
        channel,
    )


class Orders:
    """What the supervisor says, while the context lasts.

    It alone is told by a terminal or a person to reload and to end. SIGTERM, which a service
    manager sends to all processes, is taken as its word to drain; sent to a worker alone it has
    that one replaced.

    Attributes:
        stopping: set when the worker is to drain, or its supervisor is no more.
        aborting: set when it is to end at once.
    """

    def __init__(
        self,
        channel: socket.socket,
        *,
        on_changed: Callable[[str], None],
        on_reload: Callable[[object], Awaitable[None]],
        on_count: Callable[[], Awaitable[list[Family]]],
    ) -> None:
        """Hears nothing yet.

        Args:
            channel: as appointed.
            on_changed: called with the CRLs, PEM, when the state folder has something new.
            on_reload: takes another config, all or nothing, and what is in the state folder.
            on_count: says what was counted.
        """
        self.stopping = asyncio.Event()
        self.aborting = asyncio.Event()
        self._socket = channel
        self._on_changed = on_changed
        self._on_reload = on_reload
        self._on_count = on_count
        self._channel: Channel[Order] | None = None
        self._to_do: asyncio.Queue[Ask | Reload] = asyncio.Queue()
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Hears from now on."""
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop, "SIGTERM")
        self._channel = await self._stack.enter_async_context(
            await Channel.to_supervisor(self._socket)
        )
        self._tasks = [
            asyncio.create_task(each) for each in (self._hear(self._channel), self._do_in_turn())
        ]
        return self

    async def __aexit__(self, *_raised: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()

    def ready(self, _status: str) -> None:
        """The worker takes connections."""
        self._report(Accepting())

    def want(self) -> None:
        """A peer was refused: the TTP may have news."""
        self._report(Wanted())

    async def unless_stopping(self, work: Coroutine[object, None, T]) -> T | None:
        """As `Signals.unless_stopping`."""
        return await unless(self.stopping, work)

    def _report(self, report: Report) -> None:
        if self._channel is not None:
            self._channel.send(report)

    async def _hear(self, channel: Channel[Order]) -> None:
        while (order := await channel.receive()) is not None:
            match order:
                case Changed(crl=crl):
                    self._on_changed(crl)
                case Ask() | Reload():
                    self._to_do.put_nowait(order)
                case Stop():
                    self._stop("the supervisor says so")
                case Abort():
                    self._stop("the supervisor says so")
                    self.aborting.set()
                case Begin():
                    raise WorkerError("the supervisor began twice")
        self._stop("the supervisor is gone")

    async def _do_in_turn(self) -> None:
        """Each answer in the order of what was asked."""
        while True:
            match await self._to_do.get():
                case Ask(count=count):
                    self._report(Answer(await self._on_count() if count else []))
                case Reload(config=config):
                    self._report(Reloaded(await self._reload(config)))

    async def _reload(self, config: bytes) -> str | None:
        try:
            await self._on_reload(_unpickled(config))
        except AsynctlsError as error:
            return str(error)
        except Exception as error:
            log.exception("reload failed")
            return type(error).__name__
        return None

    def _stop(self, why: str) -> None:
        if not self.stopping.is_set():
            self.stopping.set()
            log.info("stopping", reason=why)


def _unpickled(config: bytes) -> object:
    # From our own parent, by a socket that nobody else has: it could as well have given us another
    # program to run.
    return pickle.loads(config)  # noqa: S301
