"""Commands that are imported when they are called: ``--help`` and ``--version`` are quick."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group whose commands each live in a module of this package, under the command's name."""

    def __init__(
        self,
        name: str | None = None,
        commands: Mapping[str, click.Command] | None = None,
        *,
        rooms: Mapping[str, str],
        **settings: object,
    ) -> None:
        """Takes ``rooms``: each command's name with what its line in the help says."""
        super().__init__(name, dict(commands or {}), **settings)  # type: ignore[arg-type]
        self._rooms = dict(rooms)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        """The names, in the order in which a newcomer meets them."""
        return list(self._rooms)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now."""
        if cmd_name not in self._rooms:
            return None
        command = import_module(f"asynctls.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"asynctls.cli.{cmd_name}.command is no click command")
        # Each is called "command" where it is made.
        command.name = cmd_name
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The commands and options that begin so, without importing the commands."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=words)
            for name, words in self._rooms.items()
            if name.startswith(incomplete)
        ]
        # The group's own would import each of them for its line of help.
        return [*found, *super(click.Group, self).shell_complete(ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The help's list, without importing what it lists."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._rooms.items()))
