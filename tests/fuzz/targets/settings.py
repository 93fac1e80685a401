"""Settings from the environment and the command line (`config.loading`, `config.settings`)."""

from __future__ import annotations

from functools import cache
from typing import Final

from asynctls.config.loading import load
from asynctls.config.settings import Setting, settings
from asynctls.config.tables import TABLES
from asynctls.errors import ConfigError
from tests.fuzz.pieces import text_of

_KINDS: Final = tuple(TABLES.values())


def run(data: bytes) -> bool:
    """A byte that says which role, then settings by number, each with its text, between zeros."""
    kind = _KINDS[(data[:1] or b"\0")[0] % len(_KINDS)]
    own = _settings(kind)
    given = [(own[part[0] % len(own)], text_of(part[1:])) for part in data[1:].split(b"\0") if part]
    environ = {setting.variable: text for setting, text in given}
    options: dict[str, object] = {
        setting.name: [text] if setting.repeated else text for setting, text in given
    }
    taken = [_taken(kind, environ, {}), _taken(kind, {}, options)]
    return all(taken)


def _taken(kind: type, environ: dict[str, str], options: dict[str, object]) -> bool:
    try:
        load(kind, path=None, overrides=options, environ=environ)
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            assert str(fault).strip()
        return False
    return True


@cache
def _settings(kind: type) -> tuple[Setting, ...]:
    return settings(kind)


def _seed(role: str, **given: str) -> bytes:
    kind = TABLES[role]
    names = [setting.name for setting in _settings(kind)]
    parts = [bytes((names.index(name),)) + text.encode() for name, text in given.items()]
    return bytes((_KINDS.index(kind),)) + b"\0".join(parts)


def seeds() -> dict[str, bytes]:
    """A few for each role."""
    return {
        "server": _seed("server", listen="127.0.0.1:1", allow="client", max_message="100"),
        "client": _seed("client", connect="[::1]:1", connect_timeout="5s", json="true"),
        "ttp": _seed("ttp", listen="127.0.0.1:0", allow_names=".example.org"),
        "no-address": _seed("server", listen="127.0.0.1"),
        "no-such-user": _seed("server", app="forward:unix:~nobody-of-that-name/socket"),
        "no-number": _seed("server", max_message="9" * 5000),
    }
