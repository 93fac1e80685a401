"""Whether a role can do its work with what it holds, for ``/healthz``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynctls.admission import StaleCRL
from asynctls.enrolment.clock import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asynctls.enrolment.keeper import Keeper

__all__ = ["identity_troubles"]

_TIME = "%Y-%m-%d %H:%M:%S UTC"


def identity_troubles(keeper: Keeper, *, clock: Callable[[], datetime] = utc_now) -> list[str]:
    """Why nobody would be let in, or would let us in; in words that tell a stranger no names.

    A CRL that has ended is none where `StaleCRL` says to go on with it. Nor is a TTP out of reach:
    until a CRL ends, all goes on.
    """
    now = clock()
    troubles = []
    if keeper.identity.expired(now):
        troubles.append(f"the certificate expired on {keeper.identity.not_after:{_TIME}}")
    if now < keeper.identity.not_before:
        troubles.append(f"the certificate is valid from {keeper.identity.not_before:{_TIME}} only")
    if keeper.stale_crl is StaleCRL.REFUSE:
        if not keeper.crls:
            troubles.append("there is no CRL")
        troubles += [
            f"a CRL ended on {each.next_update:{_TIME}}"
            for each in keeper.crls
            if now >= each.next_update
        ]
    return troubles
