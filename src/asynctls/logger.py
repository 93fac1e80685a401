"""The package's own logger: silent, warnings apart, in a program that has not set up a log.

What is logged goes through structlog where somebody has set it up, which is the program's right
alone; in our own commands to what `logs.configure` has made; else warnings and above go to standard
error, as the standard library's `logging` has it. structlog is never imported here: it takes five
times as long as Python itself to start. See docs/decisions/library-logging.md.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from asynctls.log_lines import LEVELS, Lines

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Logger", "current", "get_logger", "write_to"]

_NAMES = {number: name for name, number in LEVELS.items()}
_lines: Lines | None = None


def get_logger() -> Logger:
    """A logger for a module; how it logs is found out anew for each event."""
    return Logger()


def write_to(lines: Lines | None) -> None:
    """Where events go that no structlog takes; None: as in a program that has set up nothing."""
    global _lines  # noqa: PLW0603 - a process has one log
    _lines = lines


def current() -> Lines | None:
    """What `write_to` was given."""
    return _lines


class Logger:
    """Logs events, each a name and values, by a method for each level, as structlog has them."""

    __slots__ = ()

    def debug(self, event: str, **values: object) -> None:
        """What only somebody asks for who looks for a fault."""
        _say("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        """What happens in the ordinary way."""
        _say("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """What somebody should look at."""
        _say("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        """What could not be done."""
        _say("error", event, values)

    def critical(self, event: str, **values: object) -> None:
        """What nothing can be done after."""
        _say("critical", event, values)

    def exception(self, event: str, **values: object) -> None:
        """An error, with the exception that is being handled and its traceback."""
        _say("error", event, {"exc_info": True} | values)

    def log(self, level: int, event: str, **values: object) -> None:
        """At a level by its number in `logging`; one that has no name there counts as an error."""
        _say(_NAMES.get(level, "error"), event, values)


def _say(level: str, event: str, values: dict[str, object]) -> None:
    theirs = _structlog()
    if theirs is not None:
        getattr(theirs(), level)(event, **values)
    elif _lines is not None:
        _lines.take(level, {"event": event} | values)
    elif level not in ("debug", "info"):
        Lines(sys.stderr).take(level, {"event": event} | values)


def _structlog() -> Callable[[], Any] | None:
    """What gives a logger of structlog, where it is set up."""
    structlog: Any = sys.modules.get("structlog")
    # Another thread may be importing it just now.
    is_configured = getattr(structlog, "is_configured", None)
    if is_configured is None or not is_configured():
        return None
    get_logger: Callable[[], Any] = structlog.get_logger
    return get_logger
