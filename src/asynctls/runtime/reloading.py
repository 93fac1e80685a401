"""SIGHUP: the config, and what else a role reads, is read again: all of it counts, or none.

All that is new is read, checked and made first; what is in use is swapped at last, in one step of
the loop. So whatever is wrong is found while the last good state still stands.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from asynctls.config import RoleConfig, changes, restart_faults
from asynctls.errors import AsynctlsError, ConfigError, ReloadError
from asynctls.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

__all__ = ["Part", "Reload", "Take"]

log = get_logger()

ConfigT = TypeVar("ConfigT", bound=RoleConfig)

Take: TypeAlias = "Callable[[], None]"
"""Puts into use what was made; it cannot fail."""

Part: TypeAlias = "Callable[[ConfigT], AbstractAsyncContextManager[Take]]"
"""Makes what one part of a role wants of a config; leaving the context undoes what is not taken."""


class Reload(Generic[ConfigT]):
    """What a role does on SIGHUP; a signal that comes while it starts waits for that."""

    def __init__(self, config: ConfigT, load: Callable[[], ConfigT]) -> None:
        """Nothing is read again yet.

        Args:
            config: the one in force.
            load: reads it again, from the same command line, environment and file; blocks.
        """
        self._config = config
        self._load = load
        self._parts: tuple[Part[ConfigT], ...] = ()
        self._last: Part[ConfigT] | None = None
        self._then: Callable[[], Awaitable[None]] | None = None
        self._started = asyncio.Event()

    @property
    def config(self) -> ConfigT:
        """The one in force."""
        return self._config

    def started(
        self,
        *parts: Part[ConfigT],
        last: Part[ConfigT] | None = None,
        then: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """From now on the role can reload.

        Args:
            parts: each is asked what it wants of the new config, also if another has found a fault:
                all of them are told at once.
            last: asked only if none has: what it makes others see at once.
            then: awaited once all of it counts.
        """
        self._parts = parts
        self._last = last
        self._then = then
        self._started.set()

    async def run(self) -> None:
        """Reads all of it again.

        Raises:
            ReloadError: with every fault; all is as it was.
        """
        await self._started.wait()
        try:
            config = await asyncio.to_thread(self._load)
        except ConfigError as error:
            # The other parts may have faults as well.
            await self._take_anew(self._config, list(map(str, error.faults)))
        else:
            await self.take_anew(config)

    async def take_anew(self, config: ConfigT) -> None:
        """As ``run``, with a config that was read elsewhere.

        Raises:
            ReloadError: with every fault; all is as it was.
        """
        await self._started.wait()
        await self._take_anew(config, list(map(str, restart_faults(self._config, config))))

    async def _take_anew(self, config: ConfigT, faults: list[str]) -> None:
        async with AsyncExitStack() as made:
            takes: list[Take] = []
            for part in (*self._parts, self._last):
                if part is None or (part is self._last and faults):
                    continue
                try:
                    takes.append(await made.enter_async_context(part(config)))
                except AsynctlsError as error:
                    faults += str(error).splitlines()
            if faults:
                raise ReloadError(*faults)
            for take in takes:
                take()
            changed = changes(self._config, config)
            self._config = config
        log.info("reloaded", changed=list(changed))
        if self._then is not None:
            await self._then()
