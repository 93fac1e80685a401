"""The end of a CRL is told of, whatever happens to whoever is told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from asynctls.admission import StaleCRL
from asynctls.enrolment import crls
from asynctls.enrolment.crl_timer import CRLTimer

if TYPE_CHECKING:
    from asynctls.testing import CA


async def test_a_fault_as_a_list_ends_does_not_keep_its_end_from_being_told_later(
    asynctls_ca: CA,
) -> None:
    identity = asynctls_ca.identity("role")
    lists = crls.on_disk(identity)
    faults = iter([RuntimeError("nobody foresaw it")])
    told = asyncio.Event()

    def ended() -> None:
        timer.look_again()
        for fault in faults:
            raise fault
        told.set()

    timer = CRLTimer(
        identity=lambda: identity,
        lists=lambda: lists,
        stale_crl=lambda: StaleCRL.REFUSE,
        wanted=lambda: None,
        ended=ended,
        clock=lambda: datetime.now(UTC) + timedelta(days=10_000),
    )
    running = asyncio.create_task(timer.run())
    try:
        async with asyncio.timeout(10):
            await told.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
