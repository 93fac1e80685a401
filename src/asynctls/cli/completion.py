"""``asynctls completion``: has a shell complete commands, options, and what these can be."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from asynctls.cli.options import COMMON, role_options
from asynctls.config import IdentityConfig

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")
_NAME = "asynctls"
# The name under which click itself looks for the shell's question.
_VARIABLE = "_ASYNCTLS_COMPLETE"


@click.command
@click.argument("shell", type=click.Choice(_SHELLS))
@role_options(IdentityConfig, only=COMMON)
def command(*, shell: str, **_given: object) -> None:
    r"""Prints the script by which SHELL completes 'asynctls': have it run at each start.

    \b
    bash   echo 'eval "$(asynctls completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(asynctls completion zsh)"' >> ~/.zshrc        (after compinit)
    fish   asynctls completion fish > ~/.config/fish/completions/asynctls.fish

    The options that every verb takes change nothing here.
    """
    of_shell = get_completion_class(shell)
    assert of_shell is not None  # noqa: S101 - click knows all of _SHELLS
    root = click.get_current_context().find_root().command
    # Its own source() would first start bash, to look how old it is.
    script = of_shell(root, {}, _NAME, _VARIABLE)
    click.echo(script.source_template % script.source_vars())
