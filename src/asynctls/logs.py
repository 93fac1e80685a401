"""One form for all that is logged: lines for people on a terminal, JSON lines elsewhere.

What the standard library, asyncio and warnings say takes the same way. Nothing here may end a
daemon: a log that cannot be written is lost. Values come from peers as well, so nothing in them
can begin a line or move a terminal's cursor.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal, TextIO

from asynctls.logger import get_logger, set_up_at_first_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

    from structlog.typing import ExcInfo, WrappedLogger

__all__ = ["configure"]

_FIRST = ("timestamp", "level", "event")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_BOLD, _DIM, _CYAN = "1", "2", "36"
_EVENT_WIDTH = 24
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_NUMBERS = {logging.getLevelName(level).lower(): level for level in _LEVELS}

log = get_logger()


def configure(
    log_format: Literal["auto", "console", "json"] = "auto",
    *,
    stream: TextIO | None = None,
    level: Literal["debug", "info", "warning", "error"] = "info",
    tell: Callable[[Mapping[str, object]], bool] | None = None,
) -> None:
    """Sets up logging for this process; a later call takes the place of an earlier one.

    Args:
        log_format: ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
        stream: where to; None: standard error.
        level: the least level of our own events that is logged. Of what the standard library's
            ``logging`` hands over, warnings and above are taken.
        tell: is shown each event first, whatever its level; those that it has told in its own way,
            by its word, are not logged.
    """
    # None as well where the process was started without a standard error.
    target: TextIO | None = sys.stderr if stream is None else stream
    terminal = target is not None and target.isatty()
    if log_format == "json" or (log_format == "auto" and not terminal):
        render = _render_json
    elif terminal and not os.environ.get("NO_COLOR"):
        render = _render_coloured
    else:
        render = _render_plain
    set_up_at_first_event(partial(_set_up, target, render, level, tell))
    _take_over_standard_logging()


def _set_up(
    target: TextIO | None,
    render: Callable[..., str],
    level: str,
    tell: Callable[[Mapping[str, object]], bool] | None,
) -> None:
    with _without_rich_and_greenlet():
        import structlog  # noqa: PLC0415 - see logger

    structlog.configure(
        processors=[
            *(() if tell is None else (_Told(tell, level, structlog.DropEvent),)),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_timestamp,
            _say_error,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if tell else level),
        logger_factory=_Factory(target),
        # Cached loggers would keep the set-up of their first use, in tests as well.
        cache_logger_on_first_use=False,
    )


@contextmanager
def _without_rich_and_greenlet() -> Iterator[None]:
    """Whoever imports something meanwhile finds these not, unless they are imported already.

    structlog takes them wherever they are: rich for tracebacks that no command of ours prints,
    which takes six times as long as Python itself to start; greenlet, two milliseconds, for what
    none of ours runs in.
    Programs, and a server whose app may log by it, import structlog themselves, as it comes.
    """
    absent = {"rich", "greenlet"} - sys.modules.keys()
    # The import system's word for "absent".
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


class _Told:
    """Keeps from the log what was told in another way, and what is below its level."""

    def __init__(
        self,
        tell: Callable[[Mapping[str, object]], bool],
        level: str,
        drop: type[BaseException],
    ) -> None:
        self._tell = tell
        self._least = _NUMBERS[level]
        self._drop = drop

    def __call__(
        self, _logger: WrappedLogger, method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        if self._tell(event) or _NUMBERS[method] < self._least:
            raise self._drop
        return event


class _Output:
    """Writes lines; what cannot be written is lost, for no daemon may die of its log."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass

    debug = info = warning = error = critical = exception = msg


class _Factory:
    """Makes loggers that all write to one stream."""

    def __init__(self, stream: TextIO | None) -> None:
        self._output = _Output(stream)

    def __call__(self, *_names: object) -> _Output:
        return self._output


class _StandardHandler(logging.Handler):
    """Hands the standard library's log records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        level = record.levelno if record.levelno in _LEVELS else logging.ERROR
        # asyncio's first line says what happened; those after it are reprs of its objects.
        event, _, details = message.partition("\n")
        values: dict[str, object] = {"logger": record.name}
        if details:
            values["details"] = details
        if record.exc_info and record.exc_info[1] is not None:
            values["exc_info"] = record.exc_info
        log.log(level, event, **values)


def _take_over_standard_logging() -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _StandardHandler):
            root.removeHandler(handler)
    root.addHandler(_StandardHandler(logging.WARNING))
    logging.captureWarnings(capture=True)


def _add_timestamp(
    _logger: WrappedLogger, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    second, nanoseconds = divmod(time.time_ns(), 10**9)
    event["timestamp"] = f"{_until_the_second(second)}.{nanoseconds // 10**6:03}Z"
    return event


@lru_cache(maxsize=1)
def _until_the_second(second: int) -> str:
    """What the timestamps (RFC 3339) of all events of a second begin with."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _say_error(
    _logger: WrappedLogger, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Exceptions become one line; the traceback is there only where exc_info asked for it."""
    for key, value in event.items():
        if isinstance(value, BaseException) and key != "exc_info":
            event[key] = _in_one_line(value)
    error = _error_of(event.pop("exc_info", None))
    if error is not None:
        event.setdefault("error", _in_one_line(error))
        event["exception"] = "".join(traceback.format_exception(error)).rstrip("\n")
    return event


def _error_of(exc_info: ExcInfo | BaseException | object) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case None | False:
            return None
    return sys.exc_info()[1]


def _in_one_line(error: BaseException) -> str:
    text = "; ".join(str(error).splitlines())
    name = type(error).__name__
    # Our own are sentences; those of others often make no sense without their class.
    if type(error).__module__.partition(".")[0] == __package__ and text:
        return text
    return f"{name}: {text}" if text else name


def _ordered(event: MutableMapping[str, object]) -> dict[str, object]:
    first = {key: event.pop(key) for key in _FIRST if key in event}
    return first | dict(sorted(event.items()))


def _render_json(_logger: WrappedLogger, _method: str, event: MutableMapping[str, object]) -> str:
    return _ENCODER.encode(_ordered(event))


def _plain(value: object) -> object:
    """What JSON has no form for, in one that it has; a secret's ``str`` hides it."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


_ENCODER = json.JSONEncoder(default=_plain, skipkeys=True)


def _render_plain(_logger: WrappedLogger, _method: str, event: MutableMapping[str, object]) -> str:
    return _console_line(event, _uncoloured)


def _render_coloured(
    _logger: WrappedLogger, _method: str, event: MutableMapping[str, object]
) -> str:
    return _console_line(event, _coloured)


def _console_line(event: Mapping[str, object], paint: Callable[[str, str], str]) -> str:
    rest = _ordered({key: value for key, value in event.items() if key != "exception"})
    timestamp, level, name = (str(rest.pop(key, "")) for key in _FIRST)
    words = [
        paint(_DIM, timestamp),
        paint(_COLOURS.get(level, ""), f"{level:<8}"),
        paint(_BOLD, f"{_clean(name):<{_EVENT_WIDTH}}"),
        *(f"{paint(_CYAN, _clean(key))}={_readable(value)}" for key, value in rest.items()),
    ]
    lines = [" ".join(words).rstrip()]
    lines += (f"  {_clean(line)}" for line in str(event.get("exception", "")).splitlines())
    return "\n".join(lines)


def _readable(value: object) -> str:
    plain = _plain(value)
    text = ",".join(map(str, plain)) if isinstance(plain, (list, tuple)) else str(plain)
    bare = text and text.isprintable() and not any(sign in text for sign in " \"'=")
    return text if bare else repr(text)


def _clean(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _uncoloured(_colour: str, text: str) -> str:
    return text


def _coloured(colour: str, text: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text
