"""Options made from the config's tables, and one typed config out of what was given.

Each setting is declared once, in ``asynctls.config.tables``: its option comes from there too.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from asynctls.config import (
    Address,
    AppChoice,
    Endpoint,
    RoleConfig,
    Setting,
    load,
    parse_duration,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from click.shell_completion import CompletionItem

__all__ = ["COMMON", "DURATION", "config_and_load", "config_beside", "config_of", "role_options"]

# What every verb takes after its name, beside --config.
COMMON = ("state", "ledger", "log_format")

ConfigT = TypeVar("ConfigT", bound=RoleConfig)
CommandT = TypeVar("CommandT", bound="Callable[..., Any] | click.Command")


class _Duration(click.ParamType[timedelta]):
    """A duration longer than nothing: ``5s``, ``10m``, ``24h``, ``7d``."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            duration = parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{value!r} is not usable: {error}", param, ctx)
        if not duration:
            self.fail("it must be longer than nothing", param, ctx)
        return duration


DURATION = _Duration()


def role_options(
    kind: type[RoleConfig], *, only: Collection[str] | None = None
) -> Callable[[CommandT], CommandT]:
    """A decorator that adds ``--config`` and the options of a role's settings.

    Args:
        kind: the role's table.
        only: names of the settings that this verb takes; None: all.
    """
    chosen = [setting for setting in settings(kind) if only is None or setting.name in only]

    def decorate(command: CommandT) -> CommandT:
        # The last one added stands first in the help.
        for setting in reversed(_by_use(chosen)):
            command = _option(setting)(command)
        return command

    def with_config(command: CommandT) -> CommandT:
        option = click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="TOML file with these settings (or ASYNCTLS_CONFIG).",
        )
        return decorate(option(command))

    return with_config


def config_of(kind: type[ConfigT]) -> ConfigT:
    """The config of the command that is running; sets up logging as it says.

    What was given before a verb counts for it too: ``asynctls ttp --state D list``.

    Raises:
        ConfigError: with every fault.
    """
    return config_and_load(kind)[0]


def config_and_load(kind: type[ConfigT]) -> tuple[ConfigT, Callable[[], ConfigT]]:
    """As `config_of`, and what reads it again, for a daemon: its file may say something else then.

    Raises:
        ConfigError: with every fault.
    """
    # structlog takes 100 ms to import, for which no --help should wait.
    from asynctls import logs

    here = click.get_current_context()
    names = {setting.name for setting in settings(kind)}
    given: dict[str, object] = {}
    for context in (here.parent, here):
        if context is not None:
            given |= {
                name: value for name, value in context.params.items() if value not in (None, ())
            }
    path = given.get("config_file")
    read = partial(
        load,
        kind,
        path=path if isinstance(path, Path) else None,
        overrides={name: value for name, value in given.items() if name in names},
        environ=os.environ,
    )
    config = read()
    logs.configure(config.log_format)
    return config, read


def config_beside(kind: type[ConfigT], **given: object) -> ConfigT:
    """Another role's config, from the file and the environment of the command that is running.

    Args:
        kind: the role's table.
        **given: settings that stand above both.

    Raises:
        ConfigError: with every fault.
    """
    path = click.get_current_context().params.get("config_file")
    return load(kind, path=path, overrides=given, environ=os.environ)


def _by_use(chosen: list[Setting]) -> list[Setting]:
    """In the order of the help: what is the role's own, then what every verb takes."""
    return sorted(chosen, key=lambda setting: setting.name in COMMON)


def _option(setting: Setting) -> Callable[[CommandT], CommandT]:
    words = setting.about.words
    words = f"{words[0].upper()}{words[1:]}"
    if setting.default and not setting.flag:
        words = f"{words}  [default: {setting.default}]"
    if setting.flag:
        return click.option(setting.option, setting.name, is_flag=True, default=None, help=words)
    return click.option(
        setting.option,
        setting.name,
        multiple=setting.repeated,
        metavar=_metavar(setting),
        help=f"{words}  May be given more than once." if setting.repeated else words,
        shell_complete=_completion(setting),
    )


def _completion(setting: Setting) -> Callable[..., list[CompletionItem[str]]]:
    """What a shell proposes for the option's value: its words, files, folders."""

    def propose(
        _context: click.Context, _option: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        if setting.type is Path:
            return [CompletionItem(incomplete, type="dir" if setting.name in _FOLDERS else "file")]
        words = setting.choices or setting.choices_of_each
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]

    return propose


def _metavar(setting: Setting) -> str:
    if setting.choices:
        return f"[{'|'.join(setting.choices)}]"
    return _OF_NAME.get(setting.name) or _OF_TYPE.get(setting.type, "TEXT")


_FOLDERS = ("state", "ttp_state")
_OF_NAME = {
    "allow": "PATTERN",
    "allow_key_types": "KIND",
    "allow_names": "RULE",
    "allow_profiles": "ROLE",
    "join": "STRING",
    "ledger": "URL",
    "name": "DNS-OR-IP",
    "name_constraints": "DOMAIN",
    "on_renew": "COMMAND",
    "server_name": "NAME",
    "state": "FOLDER",
    "status_url": "URL",
    "ttp_state": "FOLDER",
}
_OF_TYPE: Mapping[object, str] = {
    Address: "HOST:PORT",
    AppChoice: "APP",
    Endpoint: "ENDPOINT",
    Path: "FILE",
    int: "NUMBER",
    timedelta: "DURATION",
}
