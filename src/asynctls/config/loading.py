"""From command line, environment and file to one struct; every fault found, not only the first.

msgspec stops at the first fault, hence each key is converted by itself.
"""

from __future__ import annotations

import difflib
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from asynctls.config.settings import Setting, settings
from asynctls.config.tables import TABLES, RoleConfig
from asynctls.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_file", "load"]

ConfigT = TypeVar("ConfigT", bound=RoleConfig)

_FILE_VARIABLE = "ASYNCTLS_CONFIG"
# Two ways to say one thing: what is said closer to the command line silences the other.
_ALTERNATIVES = frozenset({"join", "join_file"})


@dataclass(slots=True)
class _Reading(Generic[ConfigT]):
    """What was read of one table so far: its values, whence each came, and the faults."""

    kind: type[ConfigT]
    values: dict[str, object] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def table(self) -> str:
        return next(name for name, kind in TABLES.items() if kind is self.kind)

    def fault(self, name: str, source: str, problem: str) -> None:
        self.faults.append(Fault(f"{self.table}.{name}", source, problem))

    def take(
        self, given: Iterable[tuple[Setting, str, object]], *, folder: Path | None = None
    ) -> None:
        """Takes one level's values (setting, source, value) over those of the levels below it."""
        seen = {setting.name: (setting, source, value) for setting, source, value in given}
        alternatives = sorted(_ALTERNATIVES & seen.keys())
        if len(alternatives) > 1:
            for name in alternatives:
                other = next(key for key in alternatives if key != name)
                self.fault(name, seen[name][1], f"stands beside {other}: give one of the two")
        elif alternatives:
            for name in _ALTERNATIVES:
                self.values.pop(name, None)
        for name, (setting, source, value) in seen.items():
            try:
                self.values[name] = setting.read(value, folder=folder)
            except ValueError as error:
                self.fault(name, source, str(error))
            self.sources[name] = source

    def finish(self) -> ConfigT | None:
        """The struct, unless there was a fault; values are held against one another at last."""
        if self.faults:
            return None
        config = msgspec.structs.replace(self.kind(), **self.values)
        for name, problem in config.disagreements():
            self.fault(name, self.sources.get(name, "default"), problem)
        return None if self.faults else config


def load(
    kind: type[ConfigT],
    *,
    path: Path | None,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
) -> ConfigT:
    """The settings of one role: command line before environment, file, and default.

    Blocks: it reads the file.

    Args:
        kind: the table's struct.
        path: the config file; None: the one that ``ASYNCTLS_CONFIG`` names, if any.
        overrides: from the command line, by field name; None and () mean 'not given'.
        environ: the environment; an empty variable counts as not there; lists by commas.

    Raises:
        ConfigError: with every fault of the table's values, and of the file's outline.
    """
    reading = _Reading(kind)
    if path is None and environ.get(_FILE_VARIABLE):
        path = Path(environ[_FILE_VARIABLE])
    if path is not None:
        tables = _read_file(path, reading.faults)
        reading.faults.extend(_outline_faults(tables, path))
        _take_table(reading, tables.get(reading.table), path)
    own = settings(kind)
    reading.take(
        (setting, setting.variable, _split(setting, environ[setting.variable]))
        for setting in own
        if environ.get(setting.variable)
    )
    by_name = {setting.name: setting for setting in own}
    reading.take(
        (by_name[name], by_name[name].option, value)
        for name, value in overrides.items()
        if value is not None and value != ()
    )
    config = reading.finish()
    if config is None:
        raise ConfigError(*reading.faults)
    return config


def check_file(path: Path) -> tuple[Fault, ...]:
    """Every fault of a config file, in all its tables; none: an empty tuple. Blocks."""
    faults: list[Fault] = []
    tables = _read_file(path, faults)
    faults.extend(_outline_faults(tables, path))
    for name, kind in TABLES.items():
        reading = _Reading(kind)
        _take_table(reading, tables.get(name), path)
        reading.finish()
        faults.extend(reading.faults)
    return tuple(faults)


def _split(setting: Setting, text: str) -> object:
    if not setting.repeated:
        return text
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _read_file(path: Path, faults: list[Fault]) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        problem = f"is not TOML: {error}"
    except UnicodeDecodeError as error:
        problem = f"is not TOML: byte {error.start} is not UTF-8"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError):
        # Not all that tomllib raises is of its own kind.
        problem = "is not TOML that can be read: a number is too long, or lists are too deep"
    faults.append(Fault("config", str(path), problem))
    return {}


def _outline_faults(tables: Mapping[str, object], path: Path) -> list[Fault]:
    """Tables that are none of ours, and keys that stand outside any table."""
    faults = []
    for name, content in tables.items():
        if isinstance(content, dict):
            if name not in TABLES:
                problem = f"unknown table{_proposal(name, TABLES)}"
                faults.append(Fault(name, str(path), problem))
        elif name in TABLES:
            faults.append(Fault(name, str(path), f"is a table: it begins with the line [{name}]"))
        else:
            where = _homes(name)
            problem = "stands outside any table" + (f"; it belongs in {where}" if where else "")
            faults.append(Fault(name, str(path), problem))
    return faults


def _take_table(reading: _Reading[ConfigT], content: object, path: Path) -> None:
    """Takes what a file says of one table, and names the keys that it does not have."""
    if not isinstance(content, dict):
        return
    own = {setting.name: setting for setting in settings(reading.kind)}
    for name in sorted(content.keys() - own.keys()):
        proposal = _proposal(name, own)
        if not proposal and (where := _homes(name)):
            proposal = f"; it belongs in {where}"
        reading.fault(name, str(path), f"unknown key{proposal}")
    known = [(own[name], str(path), value) for name, value in content.items() if name in own]
    for setting, _, _ in known:
        if setting.secret:
            _check_privacy(reading, setting.name, path)
    reading.take(known, folder=path.parent)


def _check_privacy(reading: _Reading[ConfigT], name: str, path: Path) -> None:
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        problem = f"is a secret in a file that others can read; do: chmod 600 {path}"
        reading.fault(name, str(path), problem)


def _proposal(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _homes(name: str) -> str:
    """The tables that have a key of this name, for a person."""
    return " or ".join(
        f"[{table}]"
        for table, kind in TABLES.items()
        if any(setting.name == name for setting in settings(kind))
    )
