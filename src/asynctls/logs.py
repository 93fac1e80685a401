"""One form for all that a command logs: lines for people on a terminal, JSON lines elsewhere.

What the standard library, asyncio and warnings say takes the same way, and what an app says by
structlog.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from asynctls.log_lines import Lines, coloured, in_json, plain
from asynctls.logger import current, get_logger, write_to

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from typing import NoReturn

__all__ = ["configure", "configure_structlog"]

log = get_logger()


def configure(
    log_format: Literal["auto", "console", "json"] = "auto",
    *,
    stream: TextIO | None = None,
    level: Literal["debug", "info", "warning", "error"] = "info",
    tell: Callable[[Mapping[str, object]], bool] | None = None,
    always: Mapping[str, object] | None = None,
) -> None:
    """Sets up logging for this process; a later call takes the place of an earlier one.

    Args:
        log_format: ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
        stream: where to; None: standard error.
        level: the least level of our own events that is logged. Of what the standard library's
            ``logging`` hands over, warnings and above are taken.
        tell: is shown each event first, whatever its level; those that it has told in its own way,
            by its word, are not logged.
        always: what each line has beside its event's own values.
    """
    # None as well where the process was started without a standard error.
    target: TextIO | None = sys.stderr if stream is None else stream
    terminal = target is not None and target.isatty()
    if log_format == "json" or (log_format == "auto" and not terminal):
        form = in_json
    elif terminal and not os.environ.get("NO_COLOR"):
        form = coloured
    else:
        form = plain
    write_to(Lines(target, form=form, level=level, tell=tell, always=always))
    _take_over_standard_logging()


def configure_structlog() -> None:
    """Has what an app says by structlog take the way of our own log, where `configure` made one.

    Once that is done our own events go through structlog too, so that what the app binds to the
    context, or sets up in another way, counts for all that is logged. Imports structlog, and with
    it rich.
    """
    lines = current()
    if lines is None:
        return
    import structlog  # noqa: PLC0415 - takes 100 ms, for which only a server with an app should wait

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _into_our_log],
        wrapper_class=structlog.make_filtering_bound_logger(lines.least),
        # Cached loggers would keep the set-up of their first use.
        cache_logger_on_first_use=False,
    )


def _into_our_log(_logger: object, method: str, event: MutableMapping[str, object]) -> NoReturn:
    from structlog import DropEvent  # noqa: PLC0415 - as above

    lines = current()
    if lines is not None:
        lines.take("error" if method == "exception" else method, dict(event))
    raise DropEvent


class _StandardHandler(logging.Handler):
    """Hands the standard library's log records to our log."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        # asyncio's first line says what happened; those after it are reprs of its objects.
        event, _, details = message.partition("\n")
        values: dict[str, object] = {"logger": record.name}
        if details:
            values["details"] = details
        if record.exc_info and record.exc_info[1] is not None:
            values["exc_info"] = record.exc_info
        log.log(record.levelno, event, **values)


def _take_over_standard_logging() -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _StandardHandler):
            root.removeHandler(handler)
    root.addHandler(_StandardHandler(logging.WARNING))
    logging.captureWarnings(capture=True)
