"""An identity in use: fresh CRLs, fresh contexts, and word to whoever must look at its peers again.

A role holds one keeper and asks it for a context at each connection, and for the rules at each
decision. It works with what is on disk while the TTP is out of reach, for as long as the CRL there
is current; what then happens is `admission`'s to say.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from asynctls.admission import Anyone, Peer, Rules, StaleCRL
from asynctls.enrolment import crls, est_client
from asynctls.enrolment.clock import utc_now
from asynctls.enrolment.credentials import Credentials, FreshCredentials
from asynctls.enrolment.identity import Identity
from asynctls.errors import AsynctlsError, CertificateError
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificates_from_pem, to_der
from asynctls.pki.status import Replacement, RevocationList, may_replace
from asynctls.state import write_atomically
from asynctls.tls import contexts

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta
    from types import TracebackType

    from asynctls.pki.names import Pattern

__all__ = ["Keeper"]

log = get_logger()

_START_S = 5.0
_LEAST_GAP_S = 2.0
_REMIND_S = 60.0
_PUBLIC_MODE = 0o644
_THEN = {
    StaleCRL.REFUSE: "whoever its CA issued is refused until the TTP has given a new one",
    StaleCRL.GO_ON: "going on with it, as stale_crl says: who was revoked since is not known",
}


class Keeper:
    """Keeps an identity usable; an async context manager, which owns the task that does so."""

    def __init__(
        self,
        identity: Identity,
        *,
        crl_interval: timedelta,
        stale_crl: StaleCRL = StaleCRL.REFUSE,
        alpn: Sequence[str] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Nothing is read or fetched yet.

        Args:
            identity: As loaded.
            crl_interval: How often the CRLs are fetched.
            stale_crl: What counts when one has ended and no other could be fetched.
            alpn: What the contexts offer (RFC 7301).
            clock: The time, aware and UTC.
        """
        self._identity = identity
        self._crl_interval_s = crl_interval.total_seconds()
        self._stale_crl = stale_crl
        self._alpn = tuple(alpn)
        self._clock = clock
        self._crls: tuple[RevocationList, ...] = ()
        self._crls_on_disk: tuple[RevocationList, ...] = ()
        self._on_change: list[Callable[[], None]] = []
        self._server = FreshCredentials(self._build_server, clock=clock)
        self._client = FreshCredentials(self._build_client, clock=clock)
        self._client_for_any_host = FreshCredentials(self._build_client_for_any_host, clock=clock)
        self._all = (self._server, self._client, self._client_for_any_host)
        self._refreshing = asyncio.Lock()
        self._refresh_wanted = asyncio.Event()
        self._crls_taken = asyncio.Event()
        self._trouble: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Reads the CRLs on disk and starts fetching; waits a moment for the first answer."""
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
        self._tasks.append(asyncio.create_task(self._watch_ends()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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

    def rules(
        self,
        allow: tuple[Pattern, ...] | Anyone,
        *,
        alpn: str | None,
        server_uri: str | None = None,
    ) -> Rules:
        """What `admission.admit` holds a peer against at this moment."""
        return Rules(
            allow=allow,
            crls=self._crls,
            alpn=alpn,
            server_uri=server_uri,
            stale_crl=self._stale_crl,
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
        for each in self._all:
            each.note_admitted(peer.not_after)

    def retire_contexts(self) -> None:
        """A peer resumed a session that it should not have: no ticket given so far counts."""
        for each in self._all:
            each.retire()

    async def server_credentials(self) -> Credentials:
        """For the next connection that is accepted; a client must show a certificate.

        Raises:
            CertificateError: None could be built from what is on disk.
        """
        return await self._server.get()

    async def client_credentials(self) -> Credentials:
        """For the next connection to a server that is known by its host name.

        Raises:
            CertificateError: None could be built from what is on disk.
        """
        return await self._client.get()

    async def client_credentials_for_any_host(self) -> Credentials:
        """As ``client_credentials``, for a server whose name is judged in `admission` (a URI).

        Raises:
            CertificateError: None could be built from what is on disk.
        """
        return await self._client_for_any_host.get()

    async def reload(self) -> None:
        """Takes what is on disk now, all or nothing, and fetches the CRLs (SIGHUP).

        Raises:
            IdentityError: What is on disk cannot be used; what was in use stays.
            CertificateError: Likewise, because of the CRLs there.
        """
        # Not beside a fetch, which would put the lists of the identity before in their place.
        async with self._refreshing:
            await self._reload()
        await self.refresh_crl()

    async def _reload(self) -> None:
        identity = await asyncio.to_thread(Identity.load, self._identity.folder)
        if identity == self._identity:
            return
        lists = await asyncio.to_thread(_held_on_disk, identity)
        self._identity = identity
        self._crls = _newest(self._crls, lists)
        self._crls_on_disk = lists
        self._crls_taken.set()
        self._changed()
        log.info("identity reloaded", name=identity.name, serial=identity.serial)

    async def refresh_crl(self) -> None:
        """Fetches the CRLs from the TTP; on failure the last good ones stay, and the log says so.

        The same trouble is logged once, not at each try.
        """
        async with self._refreshing:
            try:
                await self._refresh()
            except AsynctlsError as error:
                self._report(error)
                return
            if self._trouble is not None:
                log.info("CRL fetched again", ttp=str(self._identity.ttp))
            self._trouble = None

    def refresh_soon(self) -> None:
        """Has the CRLs fetched before their time, since a connection was refused.

        The TTP may know more by now than we do. However often this is called, there are two
        seconds between two fetches; nothing is waited for here.
        """
        self._refresh_wanted.set()

    async def _keep(self, first: asyncio.Event) -> None:
        gap_s = min(_LEAST_GAP_S, self._crl_interval_s)
        while True:
            # Before the fetch: what is asked for while it runs may be newer than its answer.
            self._refresh_wanted.clear()
            try:
                await self.refresh_crl()
            except Exception:
                # The border of this task: a fault in one round must not end all later ones.
                log.exception("CRL not fetched")
            first.set()
            await asyncio.sleep(gap_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._crl_interval_s - gap_s):
                    await self._refresh_wanted.wait()

    async def _watch_ends(self) -> None:
        """Live peers are judged again when a CRL ends, and the log says so until there is one."""
        ended: tuple[RevocationList, ...] = ()
        while True:
            self._crls_taken.clear()
            now = self._clock()
            before, ended = ended, tuple(each for each in self._crls if now >= each.next_update)
            if ended:
                self._report_ended(ended)
                self.refresh_soon()
            if set(ended) - set(before):
                self._changed()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_next_end_s(now)):
                    await self._crls_taken.wait()

    def _until_next_end_s(self, now: datetime) -> float:
        # Never long, as a clock can be set, and a machine can sleep.
        coming = (each.next_update - now for each in self._crls if each.next_update > now)
        return min((_REMIND_S, *(each.total_seconds() for each in coming)))

    async def _refresh(self) -> None:
        identity = self._identity
        authorities = certificates_from_pem(identity.trust.encode())
        async with est_client.connect(identity.ttp, trust=identity.trust) as ttp:
            fetched = await crls.fetch(ttp, authorities)
        if identity is not self._identity:
            return
        before = self._crls
        self._crls = lists = _newest(before, fetched)
        # A list that says the same until later concerns no peer that was let in.
        if _revoked(lists) != _revoked(before):
            self._changed()
        if lists != before:
            self._crls_taken.set()
            log.info("CRL taken", lists=[str(each) for each in lists])
        # Last, and again until it has worked: a full disk keeps no revoked peer in.
        if lists != self._crls_on_disk:
            await asyncio.to_thread(
                write_atomically, identity.crl_file, crls.to_pem(lists).encode(), mode=_PUBLIC_MODE
            )
            self._crls_on_disk = lists

    async def _read_crls(self) -> None:
        identity = self._identity
        try:
            self._crls = await asyncio.to_thread(_held_on_disk, identity)
            self._crls_on_disk = self._crls
        except CertificateError as error:
            log.warning("CRL on disk not usable", path=str(identity.crl_file), reason=str(error))

    def _changed(self) -> None:
        self.retire_contexts()
        for callback in self._on_change:
            callback()

    def _report_ended(self, ended: tuple[RevocationList, ...]) -> None:
        log.error(
            "CRL ended",
            lists=[str(each) for each in ended],
            ended_on=[each.next_update.isoformat() for each in ended],
            ttp=str(self._identity.ttp),
            then=_THEN[self._stale_crl],
        )

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

    def _build_server(self) -> Credentials:
        identity = self._identity
        context = contexts.server_context(
            chain=identity.certificate_file,
            key=identity.key_file,
            trust=identity.trust,
            alpn=self._alpn,
        )
        contexts.try_out(context)
        return _credentials(context, identity)

    def _build_client(self) -> Credentials:
        return self._client_credentials(contexts.client_context)

    def _build_client_for_any_host(self) -> Credentials:
        return self._client_credentials(contexts.client_context_for_any_host)

    def _client_credentials(self, build: Callable[..., ssl.SSLContext]) -> Credentials:
        identity = self._identity
        context = build(
            trust=identity.trust,
            chain=identity.certificate_file,
            key=identity.key_file,
            alpn=self._alpn,
        )
        return _credentials(context, identity)


def _credentials(context: ssl.SSLContext, identity: Identity) -> Credentials:
    # The context was built from files, which another process may have replaced since they were
    # read; a session is bound to the certificate that TLS really shows.
    on_disk = certificates_from_pem(identity.certificate_file.read_bytes())[0]
    if to_der(on_disk) != identity.certificate:
        raise CertificateError(
            f"{identity.certificate_file} is not the certificate in use: reload (SIGHUP) takes it"
        )
    return Credentials(context, identity.certificate)


def _held_on_disk(identity: Identity) -> tuple[RevocationList, ...]:
    try:
        text = identity.crl_file.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CertificateError(
            f"{identity.crl_file} cannot be read: {error.strerror or error}"
        ) from error
    return crls.from_pem(text, certificates_from_pem(identity.trust.encode()))


def _newest(
    held: Iterable[RevocationList], others: Iterable[RevocationList]
) -> tuple[RevocationList, ...]:
    """Of each CA the list that counts, in the order in which they first came."""
    newest = {(each.issuer, each.authority_key_id): each for each in held}
    for each in others:
        key = (each.issuer, each.authority_key_id)
        if key not in newest or _is_taken(newest[key], each):
            newest[key] = each
    return tuple(newest.values())


def _is_taken(held: RevocationList, fetched: RevocationList) -> bool:
    verdict = may_replace(held, fetched)
    if verdict is Replacement.ROLLED_BACK:
        log.error(
            "the TTP's ledger was rolled back: its CRL has a lower number than before",
            held=held.number,
            fetched=fetched.number,
        )
    elif verdict is Replacement.OLDER:
        log.error("an older CRL was not taken", held=held.number, fetched=fetched.number)
    return verdict in {Replacement.NEWER, Replacement.ROLLED_BACK}


def _revoked(lists: Iterable[RevocationList]) -> frozenset[tuple[bytes, int]]:
    return frozenset((each.issuer, serial) for each in lists for serial in each.serials)
