"""An identity that another process of ours keeps: it renews and fetches, and we take that.

A worker's. What it wants of the TTP it asks of that process, so that the TTP is asked once, however
many workers there are.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from asynctls.enrolment import crls
from asynctls.enrolment.keeper import Keeper
from asynctls.errors import AsynctlsError
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificates_from_pem

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynctls.admission import StaleCRL
    from asynctls.enrolment.identity import Identity
    from asynctls.pki.status import RevocationList

__all__ = ["KeptByAnother"]

log = get_logger()

_AGAIN_S = 5.0


class KeptByAnother(Keeper):
    """A keeper that neither renews nor fetches."""

    def __init__(self, identity: Identity, *, stale_crl: StaleCRL, ask: Callable[[], None]) -> None:
        """Nothing is read yet.

        Args:
            identity: As loaded.
            stale_crl: What counts when a CRL has ended and there is no other on disk.
            ask: Asks the other process for a fetch before its time.
        """
        self._ask = ask
        self._told = ""
        # It never fetches by itself, at whatever interval.
        super().__init__(identity, crl_interval=timedelta.max, stale_crl=stale_crl)

    async def __aenter__(self) -> Self:
        """Reads the CRLs on disk; the folder is read again whenever ``look`` is called."""
        await self._read_crls()
        self._tasks += [
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._crl_timer.run()),
        ]
        return self

    def look(self, crl: str = "") -> None:
        """The other process has something new; nothing is waited for here.

        Args:
            crl: Its CRLs, PEM: a disk that is full keeps no revoked peer in.
        """
        self._told = crl or self._told
        self._refresh_wanted.set()

    def refresh_soon(self) -> None:
        """Has the other process fetch before its time, since a connection was refused."""
        self._ask()

    async def refresh_crl(self) -> None:
        """Takes certificate, CAs and CRLs as they are on disk, and CRLs as told if they are newer.

        Raises:
            IdentityError: They cannot be used; what was in use stays.
            CertificateError: Likewise.
        """
        async with self._swapping:
            found = await asyncio.to_thread(self._identity.as_kept)
            if found != self._identity:
                await self._adopt(found)
                log.info("identity taken from disk", name=found.name, serial=found.serial)
            lists = await asyncio.to_thread(self._newest_of, found)
            await self._take(found, lists)

    def _newest_of(self, identity: Identity) -> tuple[RevocationList, ...]:
        authorities = certificates_from_pem(identity.trust.encode())
        told = crls.from_pem(self._told, authorities)
        return crls.newest(crls.on_disk(identity), told, authorities=authorities)

    async def _follow(self) -> None:
        while True:
            await self._refresh_wanted.wait()
            self._refresh_wanted.clear()
            try:
                await self.refresh_crl()
            except AsynctlsError as error:
                log.error("state folder not taken", reason=str(error), again_in_s=_AGAIN_S)  # noqa: TRY400
            except Exception:
                # The border of this task: a fault in one look must not end all later ones.
                log.exception("state folder not taken", again_in_s=_AGAIN_S)
            else:
                continue
            await asyncio.sleep(_AGAIN_S)
            self.look()
