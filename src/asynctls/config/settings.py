"""One setting seen from all sides (TOML key, option, variable), and the reading of its value."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from asynctls.config.address import Address
from asynctls.config.durations import format_duration, parse_duration
from asynctls.config.endpoint import AppChoice, Endpoint
from asynctls.config.secret_text import SecretText

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynctls.config.about import About
    from asynctls.config.tables import RoleConfig

__all__ = ["Setting", "settings"]

_SHOWN = 60


class Setting(msgspec.Struct, frozen=True):
    """One setting of a table; the command line makes its option from this.

    Attributes:
        name: the field's name, which is the TOML key and the key of ``load``'s overrides.
        type: int, bool, str, Path, timedelta, Address, Endpoint, AppChoice, SecretText,
            ``tuple[str, ...]``, a Literal.
        default: as the user would write it; empty where there is none.
        about: words for the help, and limits.
    """

    name: str
    type: object
    default: str
    about: About

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"ASYNCTLS_{self.name.upper()}"

    @property
    def flag(self) -> bool:
        """Whether the option stands alone, without a value."""
        return self.type is bool

    @property
    def repeated(self) -> bool:
        """Whether the option may be given more than once."""
        return get_origin(self.type) is tuple

    @property
    def secret(self) -> bool:
        """Whether its value must never be shown."""
        return self.type is SecretText

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it can be, where these are all."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def choices_of_each(self) -> tuple[str, ...]:
        """The words that each of a list can be, where these are all."""
        return get_args(get_args(self.type)[0]) if self.repeated else ()

    def read(self, given: object, *, folder: Path | None = None) -> object:
        """The value as its field's type, from TOML, from text, or as it is already.

        Args:
            given: what stood in the file, the environment or the command line.
            folder: what a relative path is relative to; None: the working folder.

        Raises:
            ValueError: with the problem in words, in which a secret is never quoted.
        """
        try:
            value = self._convert(given)
            self._check_limits(value)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise ValueError(self._problem(given, error)) from None
        # A file in whose name a person can put no folder is standard input.
        if isinstance(value, Path) and str(value) != "-":
            return (folder or Path()) / value
        if isinstance(value, Endpoint | AppChoice):
            return value.relative_to(folder)
        return value

    def _convert(self, given: object) -> object:
        if given == "" and self.type is not str:
            raise ValueError("it is empty")
        if self.type in _READERS:
            return _READERS[self.type](given)
        # What comes as text is read as its type; TOML has types of its own, and 1 is not true.
        return msgspec.convert(given, self.type, strict=not isinstance(given, str))

    def _check_limits(self, value: object) -> None:
        number = value.port if isinstance(value, Address) else value
        for limit, too_far, word in (
            (self.about.least, -1, "least"),
            (self.about.most, 1, "most"),
        ):
            if limit is not None and _compare(number, limit) == too_far:
                what = "the port is" if isinstance(value, Address) else "it is"
                raise ValueError(f"{what} {_shown_limit(limit)} at the {word}")

    def _problem(self, given: object, error: Exception) -> str:
        if isinstance(error, msgspec.ValidationError):
            reason = f"wanted is {self._wanted()}"
        else:
            reason = str(error)
        if self.secret:
            return f"not usable: {reason}"
        shown = repr(given)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}…"
        return f"{shown} is not usable: {reason}"

    def _wanted(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.repeated:
            if self.choices_of_each:
                return f"a list of these: {', '.join(self.choices_of_each)}"
            return 'a list of texts (["…", "…"])'
        return _WANTED.get(self.type, "a text in quotes")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"a text in quotes is wanted, not {_toml_word(given)}")
    return given


def _toml_word(given: object) -> str:
    match given:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or time"


def _path(given: object) -> Path:
    path = given if isinstance(given, Path) else Path(_text(given))
    if "\0" in str(path):
        raise ValueError("a path holds no zero byte")
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("there is no such user's home folder") from None


def _duration(given: object) -> timedelta:
    return given if isinstance(given, timedelta) else parse_duration(_text(given))


def _address(given: object) -> Address:
    return given if isinstance(given, Address) else Address.parse(_text(given))


def _endpoint(given: object) -> Endpoint:
    return given if isinstance(given, Endpoint) else Endpoint.parse(_text(given))


def _app(given: object) -> AppChoice:
    return given if isinstance(given, AppChoice) else AppChoice.parse(_text(given))


def _secret(given: object) -> SecretText:
    return given if isinstance(given, SecretText) else SecretText(_text(given))


_READERS: Mapping[object, Callable[[object], object]] = {
    timedelta: _duration,
    Address: _address,
    AppChoice: _app,
    Endpoint: _endpoint,
    SecretText: _secret,
    Path: _path,
}
_WANTED: Mapping[object, str] = {int: "a whole number", bool: "true or false"}


def _compare(value: object, limit: int | timedelta) -> int:
    match value, limit:
        case (int(), int()) | (timedelta(), timedelta()):
            return (value > limit) - (value < limit)  # type: ignore[operator]
    return 0


def _shown_limit(limit: int | timedelta) -> str:
    return format_duration(limit) if isinstance(limit, timedelta) else str(limit)


def _shown_default(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case tuple():
            return ",".join(value)
        case Path():
            return os.fspath(value)
    return str(value)


@cache
def _hints(kind: type[RoleConfig]) -> Mapping[str, object]:
    return get_type_hints(kind, include_extras=True)


def settings(kind: type[RoleConfig]) -> tuple[Setting, ...]:
    """Every setting of a table, in the order in which they are declared."""
    # Not remembered whole: where the state folder is by default can change with the environment.
    defaults = kind()
    found = []
    for name, hint in _hints(kind).items():
        if get_origin(hint) is not Annotated:
            # A role's tunnels, which are tables of their own.
            continue
        base, about = get_args(hint)
        found.append(Setting(name, _plain(base), _shown_default(getattr(defaults, name)), about))
    return tuple(found)


def _plain(hint: object) -> object:
    # A Literal | None is a Union of the typing module's.
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        (hint,) = (kind for kind in get_args(hint) if kind is not NoneType)
    return hint
