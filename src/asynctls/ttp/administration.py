"""What an admin asks of a TTP and has it do: tokens, approvals, revocations, lists, the root.

All of it works on the ledger and the state folder, beside a running daemon or without one; the
daemon (:mod:`asynctls.ttp.authority`) finds what was done by the ledger's head having moved.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Self

from asynctls.errors import ConfigError, Fault
from asynctls.logger import get_logger
from asynctls.pki.constraints import name_inside, outside
from asynctls.pki.names import format_serial
from asynctls.pki.profiles import key_id_text
from asynctls.ttp import (
    approvals,
    backup,
    ca,
    clock,
    offline_root,
    records,
    revocation,
    status,
    trials,
)
from asynctls.ttp.details import CertificateDetails, details_of
from asynctls.ttp.keyfiles import KeyFiles
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.lists import page_of
from asynctls.ttp.policy import Policy, checked_grant
from asynctls.ttp.schema import Kind, TokenBody, row_of
from asynctls.ttp.tokens import new_token
from asynctls.ttp.upkeep import Caretaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.mac import Secret
    from asynctls.pki.keys import KeyType
    from asynctls.pki.profiles import Profile
    from asynctls.pki.status import RevocationList
    from asynctls.ttp.approvals import WaitingRequest
    from asynctls.ttp.chain import Head
    from asynctls.ttp.lists import CertificateStatus, ListedCertificate
    from asynctls.ttp.records import LedgerCount
    from asynctls.ttp.trials import Trial

__all__ = ["Administration"]

log = get_logger()


class Administration:
    """A TTP's CAs, tokens and ledger behind coroutines; an async context manager.

    Attributes:
        folder: the state folder.
        policy: what may be certified at all.
    """

    def __init__(
        self, config: TTPConfig, ledger: Ledger, keys: KeyFiles, cas: ca.CertificateAuthority
    ) -> None:
        self.folder: Path = config.state
        self.policy = Policy.of(config)
        self._config = config
        self._ledger = ledger
        self._keys = keys
        self._care = Caretaker(config, ledger, keys, cas)

    def take(self, config: TTPConfig, policy: Policy) -> None:
        """Another config and its policy count from now on, where they can while this is open."""
        self.policy = policy
        self._config = config
        self._care.follow(config)

    @classmethod
    async def beside(cls, config: TTPConfig) -> Self:
        """The admin commands' way in: what is there, and nothing is made.

        Raises:
            StateError: there is no CA in the state folder yet, or it cannot be used.
        """
        await asyncio.to_thread(backup.check_whole, config.state)
        await asyncio.to_thread(ca.check_there, config.state)
        ledger = await Ledger.open(config.state, database=config.ledger, must_exist=True)
        try:
            keys = await asyncio.to_thread(KeyFiles.of, config)
            cas = await ledger.read(
                lambda connection: ca.load(
                    connection, keys, now=clock.now(), status_url=config.status_url
                )
            )
        except BaseException:
            await ledger.close()
            raise
        return cls(config, ledger, keys, cas)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finishes what is being written and closes the ledger."""
        await self._ledger.close()

    @property
    def root(self) -> x509.Certificate:
        """The root certificate."""
        return self._care.cas.root

    @property
    def root_sha256(self) -> bytes:
        """The root's fingerprint, which join strings pin, 32 bytes."""
        return self._care.cas.root_sha256

    async def create_token(
        self,
        name: str,
        *,
        sans: Sequence[str] = (),
        profile: Profile,
        ttl: timedelta,
        lifetime: timedelta,
        allow_names: Sequence[str] = (),
        key_types: Sequence[KeyType] = (),
        uses: int = 1,
        approve: bool = False,
    ) -> tuple[str, Secret]:
        """Records a grant and makes the token for it.

        Args:
            name: what its holder will be called: DNS name, URI or IP address; also one of its SANs.
            sans: further names.
            profile: server, client or peer.
            ttl: for how long the token can be used.
            lifetime: of the certificates that it leads to, renewals included.
            allow_names: rules for further names that a request may ask for.
            key_types: the kinds of key that it is for, each with its least size; none: any.
            uses: for how many keys it is good, each of which gets one certificate.
            approve: whether a person must approve each request.

        Returns:
            The token's id, and its secret as the text that HTTP Basic sends: nothing else has it.

        Raises:
            ConfigError: with every name, profile or length of time that cannot be.
            LedgerError: the ledger cannot be written.
        """
        grant = checked_grant(
            name,
            sans=sans,
            profile=profile,
            ttl=ttl,
            lifetime=lifetime,
            allow_names=allow_names,
            key_types=key_types,
            policy=self.policy,
        )
        if names := outside(self._care.cas.issuing.certificate, grant.sans):
            problem = f"{', '.join(names)}: outside the name constraints of the issuing CA"
            raise ConfigError(Fault("name", "ttp token", problem))
        token_id, secret, digest = new_token()
        now = clock.now()
        row = row_of(
            Kind.TOKEN_CREATED,
            TokenBody(
                sans=grant.sans,
                profile=grant.profile,
                lifetime_s=lifetime // timedelta(seconds=1),
                secret_sha256=digest.hex(),
                allow_names=tuple(map(str, grant.allow_names)),
                key_types=grant.key_types,
                uses=uses,
                approve=approve,
            ),
            at=int(now.timestamp()),
            token_id=token_id,
            name=grant.name,
            ends_at=int((now + ttl).timestamp()),
        )
        await self._ledger.write(lambda tx: tx.append(row))
        log.info(
            "token created",
            token=token_id,
            name=grant.name,
            sans=grant.sans,
            profile=str(grant.profile),
            expires_at=(now + ttl).isoformat(),
            uses=uses,
            approve=approve,
        )
        return token_id, secret

    async def pending(self) -> list[WaitingRequest]:
        """The requests that wait for a person, oldest first.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        now = clock.now()
        return await self._ledger.read(
            lambda connection: approvals.waiting_requests(connection, now)
        )

    async def approve(self, number: int) -> WaitingRequest:
        """Approves a request that waits; its client gets the certificate when it asks again.

        Raises:
            EnrolmentError: no such request waits.
            LedgerError: it could not be recorded; nothing was approved.
        """
        approved = await self._ledger.write(
            lambda tx: approvals.approve(tx, number, now=clock.now())
        )
        log.info(
            "enrolment approved",
            request=approved.number,
            name=approved.name,
            sans=approved.sans,
            spki_sha256=approved.spki_sha256.hex(),
        )
        return approved

    async def revoke(self, which: str, *, reason: str = status.UNSPECIFIED) -> list[str]:
        """Revokes a serial number, or every valid certificate and unused token of exactly a name.

        Returns:
            The serial numbers that were revoked; empty when only tokens were.

        Raises:
            ConfigError: no such reason.
            CertificateError: nothing to revoke.
            LedgerError: it could not be recorded; nothing was revoked.
        """
        said = status.parse_reason(reason)
        done = await self._ledger.write(
            lambda tx: revocation.revoke(
                tx,
                which,
                reason=said,
                authority=self._care.cas,
                now=clock.now(),
                crl_lifetime=self._config.crl_lifetime,
            )
        )
        for key_id, crl in done.crls.items():
            self._care.take(key_id, crl)
        for token in done.tokens:
            log.info("token revoked", token=token.token_id, name=token.grant.name, reason=said)
        for certificate in done.certificates:
            log.info(
                "certificate revoked",
                serial=certificate.serial,
                name=certificate.grant.name,
                reason=said,
            )
        return [certificate.serial for certificate in done.certificates]

    async def certify_trial(self, trial: Trial) -> tuple[x509.Certificate, ...]:
        """A certificate that no policy would issue, and its issuing CA's: for `asynctls probe`.

        Raises:
            CertificateError: it would end too late, or cannot be made at all.
            LedgerError: it could not be recorded; nothing was issued.
        """
        issuer = self._care.cas.issuing
        certificate = await self._ledger.write(
            lambda tx: trials.certify(tx, trial, issuer=issuer, now=clock.now())
        )
        log.info(
            "issued for a trial",
            serial=format_serial(certificate.serial_number),
            sans=trial.sans,
            not_after=certificate.not_valid_after_utc.isoformat(),
        )
        return certificate, issuer.certificate

    def name_of_nobody(self) -> str:
        """A name that the issuing CA can certify, and that nobody has.

        Raises:
            CertificateError: its constraints leave none that could be tried.
        """
        return name_inside(self._care.cas.issuing.certificate)

    async def list_certificates(
        self, only: CertificateStatus | None = None
    ) -> list[ListedCertificate]:
        """All of `each_certificate`.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        return [each async for each in self.each_certificate(only)]

    async def each_certificate(
        self, only: CertificateStatus | None = None
    ) -> AsyncIterator[ListedCertificate]:
        """Every certificate issued to a role, oldest first, or those of one status.

        What was revoked stays ``revoked`` after its end. They are read a page at a time.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        now = clock.now()
        after: int | None = 0
        while after is not None:
            page = await self._ledger.read(partial(page_of, only=only, after=after, now=now))
            for each in page.certificates:
                yield each
            after = page.after

    async def show(self, which: str) -> list[CertificateDetails]:
        """All that is recorded of a serial number, or of every certificate of exactly a name.

        Raises:
            CertificateError: there is none.
            LedgerError: the ledger cannot be read.
        """
        now = clock.now()
        return await self._ledger.read(lambda connection: details_of(connection, which, now=now))

    async def count_rows(self, *, after: int) -> LedgerCount:
        """The ledger's rows by kind, those beyond the sequence ``after``.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        root = key_id_text(self.root)
        return await self._ledger.read(partial(records.count_rows, after=after, root=root))

    async def verify(self, *, head: Head | None = None) -> Head:
        """Checks the ledger's chain; see :meth:`asynctls.ttp.ledger.Ledger.verify`."""
        return await self._ledger.verify(head=head)

    async def sign_root_crl(self) -> bytes:
        """Signs the root's own CRL (it revokes nothing) anew and returns it (DER).

        Raises:
            StateError: the root's key is not here.
        """
        return await self._care.root_crl(only_if_due=False)

    async def root_crl_der(self) -> bytes:
        """The root's current CRL (DER), signed anew when half of its time is over."""
        return await self._care.root_crl()

    async def export_root_key(self, file: Path) -> None:
        """Moves the root's private key into a file: to be taken off this host.

        Raises:
            StateError: the key is not here, or ``file`` cannot be written; then it stays here.
        """
        await self._ledger.write(
            lambda tx: offline_root.export_key(
                tx, self._care.cas, self._keys, file, now=clock.now()
            )
        )
        await asyncio.to_thread(self._keys.remove, ca.ROOT)
        log.info("root key moved away", path=str(file))

    async def import_root_crl(self, content: bytes) -> RevocationList:
        """Takes up a CRL (PEM or DER) that the root signed elsewhere.

        Raises:
            CertificateError: it cannot be used; says why.
            LedgerError: it could not be recorded.
        """
        crl = await self._ledger.write(
            lambda tx: offline_root.import_crl(tx, self._care.cas, content, now=clock.now())
        )
        ours = {each.certificate.serial_number for each in self._care.cas.issuers}
        if crl.serials & ours:
            log.error("the root has revoked an issuing CA that is in use", lists=str(crl))
        return crl
