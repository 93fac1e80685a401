"""Settings from the environment and the command line (`config.loading`, `config.settings`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynctls.config.loading import load
from asynctls.config.settings import Setting, settings
from asynctls.config.tables import TABLES
from asynctls.errors import ConfigError
from tests.fuzz.texts import text_of

if TYPE_CHECKING:
    from asynctls.config.tables import RoleConfig

_KINDS: Final = tuple(TABLES.values())


def run(data: bytes) -> bool:
    """A role, and settings with their texts, between zeros; any byte stands for some name."""
    role, *parts = data.split(b"\0")
    kind = TABLES.get(text_of(role)) or _KINDS[sum(role) % len(_KINDS)]
    given = [_setting(kind, part) for part in parts]
    environ = {setting.variable: text for setting, text in given}
    options: dict[str, object] = {
        setting.name: [text] if setting.repeated else text for setting, text in given
    }
    taken = [_taken(kind, environ, {}), _taken(kind, {}, options)]
    return all(taken)


def _setting(kind: type[RoleConfig], part: bytes) -> tuple[Setting, str]:
    name, _, text = text_of(part).partition("=")
    own = settings(kind)
    return next((each for each in own if each.name == name), own[sum(part) % len(own)]), text


def _taken(kind: type[RoleConfig], environ: dict[str, str], options: dict[str, object]) -> bool:
    try:
        load(kind, path=None, overrides=options, environ=environ)
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            assert str(fault).strip()
        return False
    return True


def _seed(role: str, **given: str) -> bytes:
    return "\0".join((role, *map("=".join, given.items()))).encode()


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
