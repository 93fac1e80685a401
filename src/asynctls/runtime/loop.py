"""The event loop of a process: uvloop where it is installed, else the standard one."""

from __future__ import annotations

import asyncio
import gc
import os
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from asynctls.errors import ConfigError, Fault
from asynctls.logger import get_logger, set_up_now
from asynctls.runtime.inherited import InheritedSockets, inherit
from asynctls.runtime.sparing import Sparing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

__all__ = ["run"]

log = get_logger()
T = TypeVar("T")

_VARIABLE = "ASYNCTLS_LOOP"
_INTERRUPTED = 130


def run(main: Coroutine[object, None, T]) -> T:
    """Runs a coroutine on a loop of its own, to its end.

    ``ASYNCTLS_LOOP`` (``asyncio`` or ``uvloop``) forces a loop.

    Raises:
        ConfigError: when the variable names no loop, or uvloop is forced and not installed; when
            sockets were to be handed over (`inherited`) and were not.
        SystemExit: 130 on Ctrl-C, where the coroutine does not handle it itself (``Signals``).
    """
    # Else the first event would import structlog on the loop.
    set_up_now()
    if not gc.isenabled():
        # A command's, while it imports. What that made stays to the end, and is not gone through.
        gc.freeze()
        gc.enable()
    try:
        factory = _loop_factory(os.environ.get(_VARIABLE, ""))
        inherit(InheritedSockets.taken_from(os.environ, pid=os.getpid()))
    except ConfigError:
        main.close()
        raise
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.get_loop().set_exception_handler(_Reporter())
            return runner.run(main)
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def _loop_factory(choice: str) -> Callable[[], asyncio.AbstractEventLoop]:
    match choice:
        case "asyncio":
            return asyncio.new_event_loop
        case "" | "uvloop":
            try:
                uvloop = import_module("uvloop")
            except ImportError:
                if choice:
                    problem = "uvloop is not installed here"
                    raise ConfigError(Fault("loop", _VARIABLE, problem)) from None
                return asyncio.new_event_loop
            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
            return factory
    raise ConfigError(Fault("loop", _VARIABLE, f"{choice!r} is neither asyncio nor uvloop"))


class _Reporter:
    """Logs what no coroutine could catch: a failed accept, a failed callback, a lost task.

    Sparingly: out of descriptors, the standard loop reports one accept as often as its backlog
    is long, each second anew.
    """

    def __init__(self) -> None:
        self._sparing = Sparing()

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        error = context.get("exception")
        kind = type(error).__name__
        left_out = self._sparing.left_out(kind)
        if left_out is None:
            return
        message = str(context.get("message") or "unhandled exception in the event loop")
        values: dict[str, object] = {"left_out": left_out} if left_out else {}
        if isinstance(error, OSError):
            log.error("event loop", message=message, error=error, **values)
        elif isinstance(error, BaseException):
            log.error("event loop", message=message, exc_info=error, **values)
        else:
            log.error("event loop", message=message, **values)
