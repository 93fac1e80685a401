"""Renewal without anyone: at two thirds of the lifetime, by the clock and not by traffic.

A new certificate for a new key, by the current one over mutual TLS (RFC 7030, section 4.2.2). While
the TTP is out of reach it is tried again, later and later, and the log grows louder; the identity
in use is good to its very end.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from asynctls.enrolment import crls, est_client
from asynctls.enrolment.backoff import delays, jittered
from asynctls.enrolment.clock import check_dates, utc_now
from asynctls.enrolment.identity import Identity, store_renewed
from asynctls.enrolment.texts import Joined
from asynctls.errors import (
    AsynctlsError,
    EnrolmentRefusedError,
    StateLockedError,
    TTPNotTrustedError,
    TTPUnreachableError,
)
from asynctls.logger import get_logger
from asynctls.pki.keys import generate
from asynctls.pki.names import identity_name
from asynctls.state import hold_state_folder, to_its_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime, timedelta
    from pathlib import Path

    from asynctls.pki.keys import PrivateKey

__all__ = ["RenewalTimer", "renew", "renew_now", "renewal_due"]

log = get_logger()

# Of the lifetime: so that what joined together does not renew together.
_JITTER = 0.05
# A clock can be set and a machine can sleep, so no look at the clock is later than this.
_LONGEST_LOOK_S = 60.0
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 600.0
_REMIND_S = 600.0


async def renew(identity: Identity, key: PrivateKey) -> Joined:
    """One try to get the next certificate, for a new key; nothing is written.

    The same key tried again gets the same certificate. What else the TTP says comes with it: its
    CAs, of which another may have issued this one, and their CRLs.

    Raises:
        EnrolmentRefusedError: The TTP said no, by which rule and why.
        TTPUnreachableError: No answer, or 'not now'; trying again can help.
        TTPNotTrustedError: Whoever answers is not the TTP, or what it sent is not for us.
        ClockError: The new certificate is not valid by this clock.
    """
    if not identity.has_ttp:
        raise TTPUnreachableError("there is no TTP that it could be renewed by")
    certificate = await est_client.simple_reenroll(identity, key)
    if certificate.public_key() != key.public_key():
        raise TTPNotTrustedError("the certificate that the TTP sent is for another key than ours")
    name = identity_name(certificate)
    if name != identity.name:
        raise TTPNotTrustedError(f"the TTP sent a certificate for {name!r} to {identity.name!r}")
    check_dates("the new certificate", certificate, now=utc_now())
    root = identity.root
    async with est_client.connect(identity.ttp, trust=identity.trust) as ttp:
        issuing = await est_client.fetch_ca_certificates(
            ttp, root=root, held=identity.issuing, now=utc_now()
        )
        issuing = est_client.issuer_first(certificate, issuing)
        lists = await crls.fetch(ttp, root=root, issuing=issuing)
    return Joined.of(
        certificate, issuing=issuing, root=root, crl=crls.to_pem(lists), ttp=identity.ttp
    )


async def renew_now(folder: Path, *, give_up_after: timedelta) -> Identity:
    """Renews the identity in ``folder`` before its time, once.

    Args:
        folder: The state folder; it is held meanwhile.
        give_up_after: How long a TTP out of reach is tried.

    Raises:
        IdentityError: There is no identity, or one that has expired or cannot be used.
        StateLockedError: A daemon holds the folder.
        TTPUnreachableError: No answer for ``give_up_after``.
        EnrolmentError: As ``renew``.
        StateError: The folder cannot be written; the old identity is as it was.
    """
    await asyncio.to_thread(Identity.load, folder)
    try:
        async with hold_state_folder(folder):
            identity = await asyncio.to_thread(Identity.load, folder)
            identity.check_valid(utc_now())
            key = await generate(identity.key_type)
            joined = await _until_answered(identity, key, give_up_after.total_seconds())
            return await to_its_end(store_renewed, identity, key, joined)
    except StateLockedError as error:
        raise StateLockedError(f"{error}; a daemon there renews by itself, in time") from error


async def _until_answered(identity: Identity, key: PrivateKey, limit_s: float) -> Joined:
    last: TTPUnreachableError | None = None
    timeout = asyncio.timeout(limit_s)
    try:
        async with timeout:
            for delay_s in delays(_FIRST_DELAY_S, limit_s):
                try:
                    return await renew(identity, key)
                except TTPUnreachableError as error:
                    last = error
                await asyncio.sleep(delay_s)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise TTPUnreachableError(
            f"not renewed: within {limit_s:g} seconds {last or 'there was no answer'}; the "
            f"certificate in use is good until {identity.not_after:%Y-%m-%d %H:%M:%S} UTC"
        ) from error
    raise AssertionError("the delays never end")


def renewal_due(identity: Identity) -> datetime:
    """When to renew: at two thirds of the lifetime or up to a twentieth of it later, by lot."""
    return identity.renews_at + identity.lifetime * (_JITTER * random.random())  # noqa: S311


class NextKey:
    """The next certificate's key: one for all tries, which then lead to one certificate."""

    def __init__(self) -> None:
        """There is none yet."""
        self._key: tuple[bytes, PrivateKey] | None = None

    async def after(self, identity: Identity) -> PrivateKey:
        """That of the certificate after this one's, made at the first try."""
        if self._key is None or self._key[0] != identity.certificate:
            self._key = identity.certificate, await generate(identity.key_type)
        return self._key[1]


class RenewalTimer:
    """Has each certificate renewed in its time; ``run`` is a task of whoever keeps the identity.

    Attributes:
        renewed: how many tries led to another certificate.
        failed: how many did not.
    """

    def __init__(
        self,
        *,
        identity: Callable[[], Identity],
        renew: Callable[[], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        """Nothing runs yet.

        Args:
            identity: The one in use.
            renew: One try; when it returns, another identity is in use.
            clock: The time, aware and UTC.
        """
        self._identity = identity
        self._renew = renew
        self._clock = clock
        self._wake = asyncio.Event()
        self.renewed = 0
        self.failed = 0

    def look_again(self) -> None:
        """The identity is another one, or the TTP answers again after it did not."""
        self._wake.set()

    async def run(self) -> None:
        """Renews without end, until it is cancelled."""
        while True:
            await self._care_for(self._identity())

    async def _care_for(self, identity: Identity) -> None:
        """Until another certificate has taken this one's place."""
        await self._wait_for(renewal_due(identity), identity)
        least_s = min(1.0, identity.lifetime.total_seconds() / 60)
        for tries in count(1):
            left = identity.not_after - self._clock()
            if not self._is_in_use(identity) or left.total_seconds() <= 0:
                break
            delay_s = min(
                least_s * 2.0 ** min(tries - 1, 32),
                max(least_s, left.total_seconds() / 10),
                _LONGEST_DELAY_S,
            )
            failure = await self._try()
            if failure is None:
                self.renewed += 1
                # Certificates that end with their CA are due again at once: not without a pause.
                await asyncio.sleep(least_s)
                continue
            self.failed += 1
            retry_in_s = jittered(delay_s)
            self._report(identity, failure, tries=tries, retry_in_s=retry_in_s)
            await self._pause(retry_in_s)
        while self._is_in_use(identity):
            log.critical(
                "certificate ended",
                name=identity.name,
                serial=identity.serial,
                ended_on=identity.not_after.isoformat(),
                advice=f"join again with a new token: asynctls ttp token {identity.name}",
            )
            await self._pause(_REMIND_S)

    async def _try(self) -> AsynctlsError | None:
        try:
            await self._renew()
        except AsynctlsError as error:
            return error
        except Exception as error:
            # The border of this task: a fault in one try must not end all later ones.
            log.exception("certificate not renewed")
            return AsynctlsError(f"unforeseen: {type(error).__name__}")
        return None

    def _report(
        self, identity: Identity, failure: AsynctlsError, *, tries: int, retry_in_s: float
    ) -> None:
        left = identity.not_after - self._clock()
        log.log(
            _loudness(failure, left_of_last_third=left / (identity.lifetime / 3)),
            "certificate not renewed",
            name=identity.name,
            serial=identity.serial,
            reason=str(failure),
            tries=tries,
            retry_in_s=round(retry_in_s, 1),
            ends_in_s=round(left.total_seconds()),
            not_after=identity.not_after.isoformat(),
        )

    def _is_in_use(self, identity: Identity) -> bool:
        # By the certificate: what else an identity trusts may change meanwhile.
        return self._identity().certificate == identity.certificate

    async def _wait_for(self, moment: datetime, identity: Identity) -> None:
        too_early = False
        while self._is_in_use(identity):
            now = self._clock()
            left_s = (moment - now).total_seconds()
            if left_s <= 0:
                return
            if now < identity.not_before and not too_early:
                _report_too_early(identity)
            too_early = now < identity.not_before
            await self._pause(min(left_s, _LONGEST_LOOK_S))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        # Afterwards, so that no word is lost that came while nobody was waiting.
        self._wake.clear()


def _report_too_early(identity: Identity) -> None:
    # It was valid when it was taken; and nobody would renew it by itself now.
    log.error(
        "certificate not valid yet",
        name=identity.name,
        serial=identity.serial,
        begins_on=identity.not_before.isoformat(),
        advice="the clock of this machine was set back, now or when it was issued: see that it is "
        "right; to go on before that time, empty the state folder and join with a new token: "
        f"asynctls ttp token {identity.name}",
    )


def _loudness(failure: AsynctlsError, *, left_of_last_third: float) -> int:
    """A warning at first, an error when half of the last third is gone, critical near the end."""
    if left_of_last_third <= 1 / 6:
        return logging.CRITICAL
    if left_of_last_third <= 1 / 2 or isinstance(failure, EnrolmentRefusedError):
        return logging.ERROR
    # Whoever holds the folder renews what is in it, and we take that.
    return logging.INFO if isinstance(failure, StateLockedError) else logging.WARNING
