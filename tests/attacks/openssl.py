"""Another program as the attacker: `openssl s_client`, which speaks what our own client cannot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynctls.session import ALPN
from tests.attacks.victims import LIMIT_S

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.config import Address
    from tests.attacks.world import Holder

__all__ = ["OLD_AND_WEAK", "s_client"]

OLD_AND_WEAK = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
"""Every cipher suite that the library has, those without encryption included."""


async def s_client(openssl: Path, server: Address, holder: Holder, *options: str) -> str:
    """What it prints about a connection with the holder's certificate; it says nothing itself."""
    process = await asyncio.create_subprocess_exec(
        openssl,
        *("s_client", "-brief", "-connect", str(server), "-alpn", ALPN),
        *("-cert", holder.chain, "-key", holder.key),
        *("-cipher", OLD_AND_WEAK, *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(LIMIT_S):
        printed, _ = await process.communicate()
    return printed.decode()
