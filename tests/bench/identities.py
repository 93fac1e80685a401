"""Identities for the contenders: a real TTP, whom all have joined, and their files on disk."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asynctls
from asynctls.pki.keys import KeyType

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["Identities", "joined"]


@dataclass(frozen=True, slots=True)
class Identities:
    """A server's and a client's state folder, with keys of one kind, by one CA."""

    key_type: str
    server: Path
    client: Path

    @property
    def combined(self) -> Path:
        """Certificates and key of the server in one file, as haproxy and hitch want it."""
        return self.server / "combined.pem"


@asynccontextmanager
async def joined(folder: Path, key_type: KeyType) -> AsyncIterator[Identities]:
    """Both, fresh; their TTP serves as long as this lasts. The CA's keys are of the same family."""
    rsa = key_type is KeyType.RSA_2048
    async with asynctls.Authority(
        folder / "ttp", "127.0.0.1:0", key_type="rsa-3072" if rsa else "ecdsa-p256"
    ) as authority:
        for name in ("server", "client"):
            await asynctls.join(
                await authority.token(name),
                folder / name,
                key_type="rsa-2048" if rsa else "ecdsa-p256",
            )
        made = Identities(str(key_type), folder / "server", folder / "client")
        made.combined.touch(mode=0o600)
        made.combined.write_text(
            (made.server / "cert.pem").read_text() + (made.server / "key.pem").read_text()
        )
        yield made
