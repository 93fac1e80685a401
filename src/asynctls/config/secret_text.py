"""Text that must never be shown, as a join string is, and where it is read from.

``mac.Secret`` is for keys, on the same floor; this one is for what people hand over as text.
"""

from __future__ import annotations

import errno
import hmac
import sys
from typing import TYPE_CHECKING

from asynctls.errors import ConfigError, Fault

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SecretText", "read_join"]

_LARGEST_JOIN_FILE = 4096


class SecretText:
    """A text whose ``repr`` and ``str`` hide it; ``reveal()`` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the one place that needs it, never for a message."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText(hidden)"

    def __str__(self) -> str:
        return "hidden"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretText):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash((SecretText, self._text))

    def _bytes(self) -> bytes:
        # The environment can hold bytes that are no UTF-8, which Python has as surrogates.
        return self._text.encode(errors="surrogatepass")


def read_join(join: SecretText | None, join_file: Path | None) -> SecretText | None:
    """The join string that a config gives, by itself or by the name of its file (``-``: stdin).

    Blocks: coroutines call it in a thread.

    Raises:
        ConfigError: when the file cannot be read, holds no text, or holds more than 4 KiB.
    """
    if join is not None or join_file is None:
        return join
    source = "standard input" if str(join_file) == "-" else str(join_file)
    try:
        content = _content(join_file)
        text = content.decode().strip()
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
        raise ConfigError(Fault("join_file", source, problem)) from error
    except UnicodeDecodeError:
        raise ConfigError(Fault("join_file", source, "is not text")) from None
    if not text:
        raise ConfigError(Fault("join_file", source, "is empty: a join string is wanted"))
    if len(content) > _LARGEST_JOIN_FILE:
        problem = f"is larger than any join string ({_LARGEST_JOIN_FILE} bytes)"
        raise ConfigError(Fault("join_file", source, problem))
    return SecretText(text)


def _content(join_file: Path) -> bytes:
    if str(join_file) != "-":
        with join_file.open("rb") as file:
            return file.read(_LARGEST_JOIN_FILE + 1)
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    # Unbuffered: a thread that waits in sys.stdin holds a lock, by which the interpreter aborts
    # when it ends meanwhile.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as raw:
        content = b""
        while len(content) <= _LARGEST_JOIN_FILE and (more := raw.read(_LARGEST_JOIN_FILE + 1)):
            content += more
        return content
