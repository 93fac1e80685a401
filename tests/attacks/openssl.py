"""OpenSSL as a program: `s_client` speaks what ours cannot, `s_server` takes whom ours refuses."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from asynctls.config import Address
from asynctls.session import ALPN
from tests.attacks.victims import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.attacks.world import Holder

__all__ = ["OLD_AND_WEAK", "s_client", "s_server"]

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


@asynccontextmanager
async def s_server(holder: Holder, *options: str | Path) -> AsyncIterator[Address]:
    """OpenSSL's server with the holder's certificate, on a loopback port of its own."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    process = await asyncio.create_subprocess_exec(
        *(openssl, "s_server", "-accept", "127.0.0.1:0"),
        *("-cert", holder.chain, "-key", holder.key, "-alpn", ALPN, *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            while not (line := await process.stdout.readline()).startswith(b"ACCEPT "):
                assert line, "openssl s_server ended"
        yield Address.parse(line.split()[1].decode())
    finally:
        process.kill()
        await process.communicate()
