"""A well-behaved client that connects again and again while others attack: is it still served?"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from asynctls.errors import AsynctlsError
from asynctls.probe.clients import speaking

if TYPE_CHECKING:
    from asynctls.probe.attack import Target
    from asynctls.probe.clients import Client

__all__ = ["Bystander"]

_PAUSE_S = 0.02
# Whoever is not served is not to give up before the attack is over.
_PATIENCE_S = 10.0


class Bystander:
    """Connects, by TLS and where the server has sessions by a session, and takes the time.

    Args:
        target: the server.
        client: an honest one.
    """

    def __init__(self, target: Target, client: Client) -> None:
        self._target = target
        self._client = replace(client, patience_s=_PATIENCE_S)
        self._took_s: list[float] = []
        self._began: float | None = None

    @property
    def served(self) -> int:
        """How often it was."""
        return sum(1 for each in self._took_s if each < math.inf)

    @property
    def p99_s(self) -> float:
        """Within how many seconds 99 of 100 connections stood; infinite: it was turned away.

        One that is under way counts with its time so far; but if it is the only one, nobody was
        served: it may have begun a moment ago, since this machine was busy.
        """
        took = sorted((*self._took_s, *self._under_way()))
        return took[math.ceil(0.99 * len(took)) - 1] if self._took_s else math.inf

    async def connect_again_and_again(self, *, times: int | None = None) -> None:
        """So often, or without end until it is cancelled."""
        while times is None or len(self._took_s) < times:
            await self._connect()
            await asyncio.sleep(_PAUSE_S)

    async def _connect(self) -> None:
        self._began = asyncio.get_running_loop().time()
        try:
            # How long an app takes to say goodbye is no question of whether it serves.
            async with speaking(self._client, self._target.address) as (insider, _):
                if self._target.sessions:
                    await insider.open()
                self._took_s += self._under_way()
        except (AsynctlsError, OSError):
            self._took_s.append(math.inf)
        finally:
            self._began = None

    def _under_way(self) -> tuple[float, ...]:
        return () if self._began is None else (asyncio.get_running_loop().time() - self._began,)
