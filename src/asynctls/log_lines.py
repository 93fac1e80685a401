"""Events as lines: for people on a terminal, JSON elsewhere.

Nothing here may end a daemon: a line that cannot be written is lost. Values come from peers as
well, so nothing in them can begin a line or move a terminal's cursor.
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LEVELS", "Lines", "coloured", "in_json", "plain"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""The names of the levels, with their numbers in the standard library's `logging`."""

_FIRST = ("timestamp", "level", "event")
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_BOLD, _DIM, _CYAN = "1", "2", "36"
_EVENT_WIDTH = 24


def in_json(event: Mapping[str, object]) -> str:
    """One object, its keys in a stable order."""
    return json.dumps(_ordered(event), default=_plain, skipkeys=True)


def plain(event: Mapping[str, object]) -> str:
    """For people; a traceback makes it several lines."""
    return _console_line(event, _uncoloured)


def coloured(event: Mapping[str, object]) -> str:
    """The same for a terminal that has colours."""
    return _console_line(event, _coloured)


class Lines:
    """Takes events, and writes a line for each that is of its level or above."""

    def __init__(
        self,
        stream: TextIO | None,
        *,
        form: Callable[[Mapping[str, object]], str] = plain,
        level: str = "debug",
        tell: Callable[[Mapping[str, object]], bool] | None = None,
        always: Mapping[str, object] | None = None,
    ) -> None:
        """Writes nothing yet.

        Args:
            stream: where to; None: nowhere.
            form: an event as a line.
            level: the least that is written.
            tell: is shown each event first, whatever its level; those that it has told in its own
                way, by its word, are not written.
            always: what each line has beside its event's own values.
        """
        self._stream = stream
        self._form = form
        self._least = LEVELS[level]
        self._tell = tell
        self._always = always or {}

    @property
    def least(self) -> int:
        """The number of the level below which no event need be made."""
        return self._least if self._tell is None else LEVELS["debug"]

    def take(self, level: str, event: dict[str, object]) -> None:
        """One event, its name among its values."""
        if self._tell is not None and self._tell(event):
            return
        if LEVELS[level] < self._least:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._write(
            self._form(_with_errors({**self._always, **event, "level": level, "timestamp": now}))
        )

    def _write(self, line: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass


def _with_errors(event: dict[str, object]) -> dict[str, object]:
    """Exceptions become one line; the traceback is there only where exc_info asked for it."""
    for key, value in event.items():
        if isinstance(value, BaseException) and key != "exc_info":
            event[key] = _in_one_line(value)
    error = _error_of(event.pop("exc_info", None))
    if error is not None:
        event.setdefault("error", _in_one_line(error))
        event["exception"] = "".join(traceback.format_exception(error)).rstrip("\n")
    return event


def _error_of(exc_info: object) -> BaseException | None:
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


def _ordered(event: Mapping[str, object]) -> dict[str, object]:
    keys = (*_FIRST, *sorted(event.keys() - set(_FIRST)))
    return {key: event[key] for key in keys if key in event}


def _plain(value: object) -> object:
    """What JSON has no form for, in one that it has; a secret's ``str`` hides it."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


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
