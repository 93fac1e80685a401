"""The way of an admin verb to the authority: what is there, beside a running daemon or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asynctls.cli.options import COMMON, config_of
from asynctls.config import TTPConfig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynctls.ttp.authority import Authority

__all__ = ["TTP_COMMON", "beside"]

TTP_COMMON = (*COMMON, "key_passphrase_file")
"""What every verb of the TTP takes: what opens the keys is needed by whatever reads them."""

T = TypeVar("T")


def beside(ask: Callable[[Authority], Awaitable[T]]) -> T:
    """What an authority answers that makes nothing: a daemon may run beside it.

    Raises:
        StateError: there is no CA in the state folder yet, or it cannot be used.
    """
    from asynctls.runtime import run
    from asynctls.ttp.authority import Authority

    config = config_of(TTPConfig)

    async def answer() -> T:
        async with await Authority.beside(config) as authority:
            return await ask(authority)

    return run(answer())
