"""The package's own logger: silent, warnings apart, in a program that has not set up structlog.

As it comes, structlog prints every event on standard output, which belongs to the program. To set
it up there is the program's right alone: `logs.configure` is what our own commands do. Where
neither has happened, what we log goes to standard error, from a warning upward, as the standard
library's `logging` does it. See docs/decisions/library-logging.md.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["get_logger"]

_Quiet: Any = structlog.make_filtering_bound_logger(logging.WARNING)


def get_logger() -> FilteringBoundLogger:
    """A logger for a module; how it logs is found out anew for each event."""
    return cast("FilteringBoundLogger", _Logger())


class _Logger:
    """A bound logger of the moment, by the name of the method that is asked for."""

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - as structlog has it
        if structlog.is_configured():
            return getattr(structlog.get_logger(), method)
        if method in ("debug", "info"):
            # Asked several times for each connection: nothing is made for what nobody reads.
            return _say_nothing
        alone = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), wrapper_class=_Quiet)
        return getattr(alone, method)


def _say_nothing(_event: str, **_values: object) -> None:
    """What structlog makes of an event below the level."""
