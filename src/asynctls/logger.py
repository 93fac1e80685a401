"""The package's own logger: silent, warnings apart, in a program that has not set up structlog.

As it comes, structlog prints every event on standard output, which belongs to the program. To set
it up there is the program's right alone: `logs.configure` is what our own commands do. Where
neither has happened, what we log goes to standard error, from a warning upward, as the standard
library's `logging` does it. See docs/decisions/library-logging.md.

structlog takes longer to import than Python to start: it is imported when there is something to
log, and by whoever has it set up.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import FilteringBoundLogger

__all__ = ["get_logger", "logger_for", "set_up_at_first_event", "set_up_now"]

_awaited: Callable[[], None] | None = None


def get_logger() -> FilteringBoundLogger:
    """A logger for a module; how it logs is found out anew for each event."""
    return cast("FilteringBoundLogger", _Logger())


def set_up_at_first_event(set_up: Callable[[], None] | None) -> None:
    """Has structlog set up when it is needed; at once where it is imported already."""
    global _awaited  # noqa: PLW0603 - a process has one log
    _awaited = set_up
    if "structlog" in sys.modules:
        set_up_now()


def set_up_now() -> None:
    """Does what `set_up_at_first_event` was given, where that is still to be done."""
    global _awaited
    set_up, _awaited = _awaited, None
    if set_up is not None:
        set_up()


class _Logger:
    """A bound logger of the moment, by the name of the method that is asked for."""

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - as structlog has it
        bound = _bound()
        if bound is not None:
            return getattr(bound, method)
        if method in ("debug", "info"):
            # Asked several times for each connection: nothing is made for what nobody reads.
            return _say_nothing
        return getattr(_alone(), method)


def logger_for(level: int) -> FilteringBoundLogger | None:
    """A logger for one event at level debug or info.

    None: nobody reads it, so that what it would say need not be found out.
    """
    bound = _bound()
    if bound is None:
        return None
    try:
        # Of the class: some make an event of whatever they are asked for.
        is_read = type(bound).is_enabled_for(bound, level)
    except AttributeError:
        is_read = True
    return cast("FilteringBoundLogger", bound) if is_read else None


def _bound() -> Any:  # noqa: ANN401 - as structlog has it
    """A logger as structlog is set up at this moment; None: nobody has set it up."""
    if _awaited is not None:
        set_up_now()
    # Nobody has set up what nobody has imported, or is importing just now.
    structlog: Any = sys.modules.get("structlog")
    is_configured = getattr(structlog, "is_configured", None)
    if is_configured is None or not is_configured():
        return None
    # What `structlog.get_logger` gives makes the same of it, in eight times as long.
    config = structlog.get_config()
    return config["wrapper_class"](
        config["logger_factory"](),
        processors=config["processors"],
        context=config["context_class"]({}),
    )


def _say_nothing(_event: str, **_values: object) -> None:
    """What structlog makes of an event below the level."""


def _alone() -> Any:  # noqa: ANN401 - as structlog has it
    import structlog  # noqa: PLC0415 - see above

    quiet: Any = structlog.make_filtering_bound_logger(logging.WARNING)
    return structlog.wrap_logger(structlog.PrintLogger(sys.stderr), wrapper_class=quiet)
