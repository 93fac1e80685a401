"""``asynctls ttp backup`` and ``asynctls ttp restore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynctls.cli.options import COMMON, config_of, role_options
from asynctls.config import SecretText, TTPConfig

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["backup", "restore"]

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


def _passphrase_file(words: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help=words,
    )


@click.command
@_file
@_passphrase_file("Encrypt it (age) with the passphrase in this file, which only you can read.")
@role_options(TTPConfig, only=COMMON)
def backup(*, file: Path, passphrase_file: Path | None, **_given: object) -> None:
    """Writes all that a TTP needs to go on elsewhere into FILE, also while it runs.

    The keys are in it: FILE is for its owner's eyes only (0600). Prints the ledger's head in it.
    """
    from asynctls.runtime import run
    from asynctls.ttp.backup import back_up

    config = config_of(TTPConfig)
    head = run(back_up(config, file, passphrase=_passphrase(passphrase_file)))
    click.echo(str(head))
    click.echo(f"{file} holds the TTP's keys and the {head.sequence} rows of its ledger.", err=True)


@click.command
@_file
@_passphrase_file("The file with the passphrase that the backup was encrypted with.")
@role_options(TTPConfig, only=COMMON)
def restore(*, file: Path, passphrase_file: Path | None, **_given: object) -> None:
    """Makes a TTP of the backup in FILE, in a state folder that is empty or not there.

    With a ledger on PostgreSQL: a database gets the rows that it lacks: all if it is empty, none
    for one more replica. One that holds another chain is refused. Prints the ledger's head.
    """
    from asynctls.runtime import run
    from asynctls.ttp.backup import restore as put_back

    config = config_of(TTPConfig)
    done = run(put_back(config, file, passphrase=_passphrase(passphrase_file)))
    click.echo(str(done.head))
    click.echo(
        f"{config.state} holds the TTP again; {done.rows} rows were brought into its ledger.",
        err=True,
    )


def _passphrase(path: Path | None) -> SecretText | None:
    if path is None:
        return None
    from asynctls.errors import StateError
    from asynctls.state import read_private

    try:
        text = read_private(path).decode().rstrip("\r\n")
    except FileNotFoundError:
        raise StateError(f"the passphrase file {path} is not there") from None
    except UnicodeDecodeError:
        raise StateError(f"the passphrase file {path} is not text") from None
    if not text:
        raise StateError(f"the passphrase file {path} is empty")
    if "\n" in text:
        # Nobody could type it, as age asks for it.
        raise StateError(f"the passphrase file {path} has more than one line: a passphrase is one")
    return SecretText(text)
