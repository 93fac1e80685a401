"""The package's own logger: silent, warnings apart, in a program that has not set up structlog.

As it comes, structlog prints every event on standard output, which belongs to the program. To set
it up there is the program's right alone: `logs.configure` is what our own commands do. Where
neither has happened, what we log goes to standard error, from a warning upward, as the standard
library's `logging` does it. See docs/decisions/library-logging.md.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import Context, FilteringBoundLogger, Processor, WrappedLogger

__all__ = ["get_logger"]

_Quiet: Any = structlog.make_filtering_bound_logger(logging.WARNING)


def get_logger() -> FilteringBoundLogger:
    """A logger for a module; how it logs is found out anew for each event."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        None,
        wrapper_class=_as_set_up,  # type: ignore[arg-type] # what makes one will do
        cache_logger_on_first_use=False,
    )
    return logger


def _as_set_up(
    logger: WrappedLogger, processors: Iterable[Processor], context: Context
) -> FilteringBoundLogger:
    wrapper = structlog.get_config()["wrapper_class"]
    if not structlog.is_configured():
        logger, wrapper = structlog.PrintLogger(sys.stderr), _Quiet
    bound: FilteringBoundLogger = wrapper(logger, processors, context)
    return bound
