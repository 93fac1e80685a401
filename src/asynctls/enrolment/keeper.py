"""An identity in use: renewed in time, fresh CAs, CRLs and contexts, and word to whoever wants it.

A role holds one keeper and asks it for a context at each connection, and for the rules at each
decision. It works with what is on disk while the TTP is out of reach, for as long as the CRL there
is current; what then happens is `admission`'s to say.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from asynctls.admission import LiveAfterExpiry, Peer, Rules, StaleCRL
from asynctls.enrolment import connection, crls, est_client
from asynctls.enrolment.clock import utc_now
from asynctls.enrolment.crl_timer import CRLTimer
from asynctls.enrolment.files import Files
from asynctls.enrolment.identity import Identity, store_renewed
from asynctls.enrolment.own_contexts import OwnContexts
from asynctls.enrolment.renewal import NextKey, RenewalTimer, renew
from asynctls.enrolment.texts import CERTIFICATE, CRL
from asynctls.errors import AsynctlsError, CertificateError, IdentityError
from asynctls.logger import get_logger
from asynctls.pki.names import common_name_of
from asynctls.state import to_its_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime, timedelta

    from asynctls.admission import AllowList
    from asynctls.enrolment.credentials import Credentials, FreshCredentials
    from asynctls.pki.status import RevocationList

__all__ = ["Keeper"]

log = get_logger()

_START_S = 5.0
_LEAST_GAP_S = 2.0


class Keeper:
    """Keeps an identity usable; an async context manager, which owns the task that does so."""

    def __init__(
        self,
        identity: Identity,
        *,
        crl_interval: timedelta,
        stale_crl: StaleCRL = StaleCRL.REFUSE,
        holds_folder: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Nothing is read or fetched yet.

        Args:
            identity: As loaded.
            crl_interval: How often the CRLs are fetched.
            stale_crl: What counts when one has ended and no other could be fetched.
            holds_folder: Whether the caller holds the identity's folder for as long. Where not, it
                is held for each swap, and what another process renews there is taken.
            clock: The time, aware and UTC.
        """
        self._identity = identity
        self._crl_interval_s = crl_interval.total_seconds()
        self._stale_crl = stale_crl
        self._crls: tuple[RevocationList, ...] = ()
        self._on_change: list[Callable[[], None]] = []
        self._contexts = OwnContexts(lambda: self._identity, clock=clock)
        self._holds_folder = holds_folder
        self._files = Files(trust=identity.trust, holds_folder=holds_folder)
        self._timer = RenewalTimer(
            identity=lambda: self._identity, renew=self._renew_once, clock=clock
        )
        self._crl_timer = CRLTimer(
            identity=lambda: self._identity,
            lists=lambda: self._crls,
            stale_crl=lambda: self._stale_crl,
            wanted=self.refresh_soon,
            ended=self._changed,
            clock=clock,
        )
        self._next_key = NextKey()
        # One fetch at a time; and one change of what is in use, which waits for no TTP.
        self._fetching = asyncio.Lock()
        self._swapping = asyncio.Lock()
        self._refresh_wanted = asyncio.Event()
        self._trouble: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Reads the CRLs on disk and starts its tasks; waits a moment for the first answer."""
        await self._read_crls()
        first = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._keep(first)))
        try:
            async with asyncio.timeout(_START_S):
                await first.wait()
        except TimeoutError:
            log.warning("starting with the CRL on disk", reason="the TTP is slow to answer")
        except BaseException:
            await self._stop()
            raise
        self._tasks.append(asyncio.create_task(self._crl_timer.run()))
        self._tasks.append(asyncio.create_task(self._timer.run()))
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def identity(self) -> Identity:
        """The identity in use."""
        return self._identity

    @property
    def crls(self) -> tuple[RevocationList, ...]:
        """The CRLs held, each verified."""
        return self._crls

    @property
    def renewals(self) -> tuple[int, int]:
        """How many tries to renew the certificate led to another one, and how many did not."""
        return self._timer.renewed, self._timer.failed

    @property
    def in_touch(self) -> bool:
        """Whether the TTP gave CAs and CRLs when it was last asked."""
        return self._trouble is None

    @property
    def stale_crl(self) -> StaleCRL:
        """What counts when a CRL has ended and no other could be fetched."""
        return self._stale_crl

    def rules(
        self,
        allow: AllowList,
        *,
        alpn: str | None,
        server_uri: str | None = None,
        live_after_expiry: LiveAfterExpiry = LiveAfterExpiry.END,
    ) -> Rules:
        """What `admission.admit` holds a peer against at this moment."""
        return Rules(
            allow=allow,
            crls=self._crls,
            alpn=alpn,
            server_uri=server_uri,
            stale_crl=self._stale_crl,
            live_after_expiry=live_after_expiry,
        )

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Has ``callback`` called when a live peer may have to be judged again.

        Returns:
            What takes that back.
        """
        self._on_change.append(callback)
        return partial(self._on_change.remove, callback)

    def note_admitted(self, peer: Peer) -> None:
        """A peer was admitted: no context that may resume its session outlives its certificate."""
        self._contexts.note_admitted(peer.not_after)

    def retire_contexts(self) -> None:
        """A peer resumed a session that it should not have: no ticket given so far counts."""
        self._contexts.retire()

    async def server_credentials(self, *, alpn: str | None = None) -> Credentials:
        """For the next connection that is accepted; a client must show a certificate.

        Args:
            alpn: The protocol to agree on (RFC 7301); None: none.

        Raises:
            CertificateError: None could be built from what is on disk.
        """
        return await self._current(self._contexts.server(alpn))

    async def client_credentials(self, *, alpn: str | None = None) -> Credentials:
        """For the next connection to a server that is known by its host name.

        Args:
            alpn: The protocol to ask for (RFC 7301); None: none.

        Raises:
            CertificateError: None could be built from what is on disk.
        """
        return await self._current(self._contexts.client(alpn))

    async def client_credentials_for_any_host(self, *, alpn: str | None = None) -> Credentials:
        """As ``client_credentials``, for a server whose name is judged in `admission` (a URI).

        Raises:
            CertificateError: None could be built from what is on disk.
        """
        return await self._current(self._contexts.client_for_any_host(alpn))

    async def _current(self, kind: FreshCredentials) -> Credentials:
        try:
            return await kind.get()
        except CertificateError:
            if self._holds_folder:
                raise
            # Another process may have renewed what was loaded a moment ago.
            await self._take_over()
        return await kind.get()

    def on_write(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Has ``callback`` called when files have changed that other programs load.

        It is told which: ``certificate`` (and its key), ``ca`` or ``crl``.

        Returns:
            What takes that back.
        """
        return self._files.on_write(callback)

    @asynccontextmanager
    async def reloading(
        self, *, crl_interval: timedelta, stale_crl: StaleCRL = StaleCRL.REFUSE
    ) -> AsyncIterator[Callable[[], None]]:
        """Reads identity, trust bundle and CRLs anew, and tries contexts made with them.

        Args:
            crl_interval: As at the start.
            stale_crl: Likewise.

        Returns:
            What puts all of that into use, while the context lasts.

        Raises:
            IdentityError: What is on disk cannot be used.
            CertificateError: Likewise, because of the CRLs there, or of a context made with it.
        """
        async with self._swapping:
            identity = await asyncio.to_thread(self._identity.as_kept)
            adopt = await self._adoption(identity)

            def take() -> None:
                if identity != self._identity:
                    log.info("identity reloaded", name=identity.name, serial=identity.serial)
                self._stale_crl = stale_crl
                if crl_interval.total_seconds() != self._crl_interval_s:
                    self._crl_interval_s = crl_interval.total_seconds()
                    self.refresh_soon()
                adopt()

            yield take

    async def _renew_once(self) -> None:
        """One try to have another certificate in use than now."""
        if await self._take_over():
            return
        # Whoever else holds the folder renews what is in it: then the TTP is not asked for a
        # certificate that could not be kept.
        async with self._files.held(self._identity):
            identity = self._identity
        key = await self._next_key.after(identity)
        joined = await renew(identity, key)
        async with self._swapping, self._files.held(identity), self._contexts.still():
            stored = await to_its_end(store_renewed, identity, key, joined)
            await self._adopt(stored)
        log.info(
            "certificate renewed",
            name=stored.name,
            serial=stored.serial,
            not_after=stored.not_after.isoformat(),
            renews_at=stored.renews_at.isoformat(timespec="seconds"),
            path=stored.store.place(CERTIFICATE),
        )
        self._files.wrote("certificate")

    async def _take_over(self) -> bool:
        """Takes the certificate that another process, or a person, put on disk; False: none is."""
        async with self._swapping:
            found = await asyncio.to_thread(self._identity.as_kept)
            if found.certificate == self._identity.certificate:
                return False
            await self._adopt(found)
        log.info("identity taken from disk", name=found.name, serial=found.serial)
        return True

    async def _adopt(self, identity: Identity) -> None:
        """Has another identity in use, once contexts made with it have been tried: or it raises."""
        (await self._adoption(identity))()

    async def _adoption(self, identity: Identity) -> Callable[[], None]:
        lists = await asyncio.to_thread(crls.on_disk, identity)
        take_contexts = await self._contexts.made_of(identity)

        def take() -> None:
            self._identity = identity
            take_contexts()
            self._crls = crls.newest(self._crls, lists, authorities=identity.authorities)
            self._files.found(identity.trust, lists)
            self._crl_timer.look_again()
            self._timer.look_again()
            self._tell()

        return take

    async def refresh_crl(self) -> None:
        """Fetches CAs and CRLs from the TTP; on failure the last good ones stay, as the log says.

        The same trouble is logged once, not at each try. An identity of no TTP (as in
        `asynctls.testing`) lives with what is kept with it.
        """
        if not self._identity.has_ttp:
            return
        async with self._fetching:
            try:
                await self._refresh()
            except AsynctlsError as error:
                self._report(error)
                return
            if self._trouble is not None:
                log.info("CRL fetched again", ttp=str(self._identity.ttp))
                self._timer.look_again()
            self._trouble = None

    def refresh_soon(self) -> None:
        """Has the CRLs fetched before their time, since a connection was refused.

        The TTP may know more by now than we do. However often this is called, there are two
        seconds between two fetches; nothing is waited for here.
        """
        self._refresh_wanted.set()

    async def _keep(self, first: asyncio.Event) -> None:
        gap_s, is_ready = min(_LEAST_GAP_S, self._crl_interval_s), False
        while True:
            # Before the fetch: what is asked for while it runs may be newer than its answer.
            self._refresh_wanted.clear()
            try:
                if not self._holds_folder:
                    with suppress(IdentityError, CertificateError):
                        await self._take_over()
                await self.refresh_crl()
            except Exception:
                # The border of this task: a fault in one round must not end all later ones.
                log.exception("CRL not fetched")
            first.set()
            await asyncio.sleep(gap_s)
            # For a renewal, in days: by then another version may be installed in the place of this.
            is_ready = is_ready or await connection.ready_to_read()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._crl_interval_s - gap_s):
                    await self._refresh_wanted.wait()

    async def _refresh(self) -> None:
        held, root = self._identity, self._identity.root
        async with est_client.connect(held.ttp, trust=held.trust) as ttp:
            issuing = await est_client.fetch_ca_certificates(
                ttp, root=root, held=held.issuing, now=utc_now()
            )
            fetched = await crls.fetch(ttp, root=root, issuing=issuing, held=self._crls)
        async with self._swapping:
            if held is self._identity:
                await self._take(held.trusting(issuing), fetched)
            else:
                # It was fetched for an identity that is in use no longer.
                self.refresh_soon()

    async def _take(self, identity: Identity, fetched: tuple[RevocationList, ...]) -> None:
        before, trusted_before = self._crls, self._identity.trust
        self._crls = lists = crls.newest(before, fetched, authorities=identity.authorities)
        # A list that says the same until later concerns no peer that was let in.
        if not crls.revoke_the_same(lists, before):
            self._changed()
        if lists != before:
            self._crl_timer.look_again()
            log.info("CRL taken", lists=[str(each) for each in lists])
        if identity.trust != trusted_before:
            self._identity = identity
            self._changed()
            names = [common_name_of(each.subject) for each in identity.issuing]
            log.info("CA certificates taken", issuing=names)
        # Last, and again until it has worked: a full disk keeps no revoked peer in.
        await self._files.write(identity, lists)

    async def _read_crls(self) -> None:
        identity = self._identity
        try:
            self._crls = await asyncio.to_thread(crls.on_disk, identity)
            self._files.found(identity.trust, self._crls)
        except CertificateError as error:
            log.warning("CRL on disk not usable", path=identity.store.place(CRL), reason=str(error))

    def _changed(self) -> None:
        self.retire_contexts()
        self._tell()

    def _tell(self) -> None:
        for callback in self._on_change:
            callback()

    def _report(self, error: AsynctlsError) -> None:
        trouble = type(error).__name__
        if trouble == self._trouble:
            return
        self._trouble = trouble
        until = min((each.next_update for each in self._crls), default=None)
        log.warning(
            "CRL not fetched",
            ttp=str(self._identity.ttp),
            reason=str(error),
            held_is_current_until=None if until is None else until.isoformat(),
        )
