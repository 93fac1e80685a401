"""From command line, environment and file to one struct; every fault found, not only the first.

msgspec stops at the first fault, hence each key is converted by itself.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import msgspec

from asynctls.config.address import Address
from asynctls.config.endpoint import Endpoint
from asynctls.config.settings import Setting, settings
from asynctls.config.tables import TABLES, RoleConfig
from asynctls.config.tunnels import BESIDE_NO_TUNNEL, TUNNEL_KEYS
from asynctls.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["check_file", "load"]

ConfigT = TypeVar("ConfigT", bound=RoleConfig)

_FILE_VARIABLE = "ASYNCTLS_CONFIG"
# Two ways to say one thing: what is said closer to the command line silences the other.
_ALTERNATIVES = frozenset({"join", "join_file"})
_TUNNEL = "tunnel"


class _Reading(msgspec.Struct, Generic[ConfigT]):
    """What was read of one table so far: its values, whence each came, and the faults.

    Attributes:
        kind: the table's struct.
        place: what keys are named after: ``server``, ``server.tunnel[2]``.
        keys: those that it can have.
        tunnels: what was read of its tunnels.
    """

    kind: type[ConfigT]
    place: str
    keys: Mapping[str, Setting]
    values: dict[str, object] = msgspec.field(default_factory=dict)
    sources: dict[str, str] = msgspec.field(default_factory=dict)
    faults: list[Fault] = msgspec.field(default_factory=list)
    tunnels: list[_Reading[ConfigT]] = msgspec.field(default_factory=list)

    @classmethod
    def of(cls, kind: type[ConfigT]) -> Self:
        table = next(name for name, each in TABLES.items() if each is kind)
        return cls(kind, table, {setting.name: setting for setting in settings(kind)})

    def fault(self, name: str, source: str, problem: str) -> None:
        self.faults.append(Fault(f"{self.place}.{name}", source, problem))

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
        if self.tunnels:
            for name in sorted(BESIDE_NO_TUNNEL & self.sources.keys()):
                problem = f"means nothing beside [[{self.place}.{_TUNNEL}]]: set it there"
                self.fault(name, self.sources[name], problem)
        for tunnel in self.tunnels:
            self.faults.extend(tunnel.faults)
        if self.faults:
            return None
        config = msgspec.structs.replace(self.kind(), **self.values)
        tunnels = [msgspec.structs.replace(config, **tunnel.values) for tunnel in self.tunnels]
        if tunnels:
            config = msgspec.structs.replace(config, **{_TUNNEL: tuple(tunnels)})
        disagreements = tuple(config.disagreements())
        for name, problem in disagreements:
            self.fault(name, self.sources.get(name, "default"), problem)
        for tunnel, each in zip(self.tunnels, tunnels, strict=True):
            for name, problem in each.disagreements():
                # What the role has set is told once, as the role's.
                if (name, problem) not in disagreements:
                    tunnel.fault(name, tunnel.sources.get(name, "default"), problem)
            self.faults.extend(tunnel.faults)
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
    reading = _Reading.of(kind)
    if path is None and environ.get(_FILE_VARIABLE):
        path = Path(environ[_FILE_VARIABLE])
    if path is not None:
        tables = _read_file(path, reading.faults)
        reading.faults.extend(_outline_faults(tables, path))
        _take_table(reading, tables.get(reading.place), path)
    reading.take(
        (setting, setting.variable, _split(setting, environ[setting.variable]))
        for setting in reading.keys.values()
        if environ.get(setting.variable)
    )
    reading.take(
        (reading.keys[name], reading.keys[name].option, value)
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
        reading = _Reading.of(kind)
        _take_table(reading, tables.get(name), path)
        reading.finish()
        faults.extend(reading.faults)
    return tuple(faults)


def _split(setting: Setting, text: str) -> object:
    if not setting.repeated:
        return text
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _read_file(path: Path, faults: list[Fault]) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 - most commands have no file

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
    own = reading.keys
    if reading.kind in TUNNEL_KEYS and _TUNNEL in content:
        content = dict(content)
        _take_tunnels(reading, content.pop(_TUNNEL), path)
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


def _take_tunnels(reading: _Reading[ConfigT], rows: object, path: Path) -> None:
    """Takes what a file says of a role's tunnels, each of which has the role's settings else."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        problem = f"is made of tables: each begins with the line [[{reading.place}.{_TUNNEL}]]"
        reading.fault(_TUNNEL, str(path), problem)
        return
    keys = {name: reading.keys[name] for name in TUNNEL_KEYS[reading.kind]}
    taken: dict[object, str] = {}
    for number, row in enumerate(rows, 1):
        tunnel = _Reading(reading.kind, f"{reading.place}.{_TUNNEL}[{number}]", keys)
        _take_table(tunnel, row, path)
        if "listen" not in row:
            tunnel.fault("listen", "not set", "a tunnel has an address of its own")
        where = tunnel.values.get("listen")
        if where in taken:
            tunnel.fault("listen", str(path), f"{where} is the address of {taken[where]} too")
        elif where is not None and not _is_any_port(where):
            taken[where] = tunnel.place
        reading.tunnels.append(tunnel)


def _is_any_port(where: object) -> bool:
    address = where.where if isinstance(where, Endpoint) else where
    return isinstance(address, Address) and address.port == 0


def _check_privacy(reading: _Reading[ConfigT], name: str, path: Path) -> None:
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        problem = f"is a secret in a file that others can read; do: chmod 600 {path}"
        reading.fault(name, str(path), problem)


def _proposal(name: str, known: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - only who mistypes needs it

    near = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _homes(name: str) -> str:
    """The tables that have a key of this name, for a person."""
    return " or ".join(
        f"[{table}]"
        for table, kind in TABLES.items()
        if any(setting.name == name for setting in settings(kind))
    )
