"""The authority: may this be issued? Then issue it, record it, and only then say so.

It asks :mod:`~asynctls.ttp.policy`, builds by :mod:`asynctls.pki.profiles`, and stores in the
:class:`~asynctls.ttp.ledger.Ledger`; none of them does another's work. Nothing that signs or
touches the disk runs on the event loop: it is an operation of the ledger's writer thread.

The daemon calls :meth:`Authority.open` and runs :meth:`Authority.maintain`; the admin commands call
:meth:`Authority.beside`, beside a running daemon or without one.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Self

from asynctls import state
from asynctls.errors import (
    AsynctlsError,
    CertificateError,
    ConfigError,
    EnrolmentRefusedError,
    Fault,
    StateError,
)
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.constraints import outside
from asynctls.pki.profiles import key_id_text
from asynctls.ttp import (
    approvals,
    backup,
    ca,
    issuance,
    offline_root,
    own_tls,
    records,
    revocation,
    status,
    succession,
)
from asynctls.ttp.details import CertificateDetails, details_of
from asynctls.ttp.health import Upkeep, crl_troubles
from asynctls.ttp.issuance import Asked, Granted, Refused, Waiting
from asynctls.ttp.keyfiles import KeyFiles
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.ocsp import OCSP
from asynctls.ttp.policy import Policy, Rule, checked_grant
from asynctls.ttp.public_address import own_names
from asynctls.ttp.reminders import Reminder
from asynctls.ttp.schema import Kind, TokenBody, row_of
from asynctls.ttp.tokens import FailureLimit, RecordLimit, new_token

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.mac import Secret
    from asynctls.pki.keys import KeyType
    from asynctls.pki.profiles import Issuer, Profile
    from asynctls.pki.status import RevocationList
    from asynctls.ttp.approvals import WaitingRequest
    from asynctls.ttp.chain import Head
    from asynctls.ttp.observing import TTPObserver
    from asynctls.ttp.records import (
        CertificateStatus,
        LedgerCount,
        ListedCertificate,
        SignedCRL,
    )

__all__ = ["Authority"]

log = get_logger()

POLL_S = 0.5
"""How often the daemon looks whether somebody else moved the head: half of what a CRL may take."""

_AFTER_FAILURE_S = 5.0


class Authority:
    """A TTP's CA, tokens and ledger behind coroutines; an async context manager.

    Attributes:
        folder: the state folder.
        tls_certificate: what the TTP shows in TLS (files ``tls_chain``, ``tls_key``); another
            object once :meth:`maintain` has renewed it. None beside a daemon.
        ocsp: who answers for single certificates.
        policy: what may be certified at all.
    """

    def __init__(
        self,
        config: TTPConfig,
        ledger: Ledger,
        keys: KeyFiles,
        authority: ca.CertificateAuthority,
    ) -> None:
        self.folder: Path = config.state
        self.tls_certificate: x509.Certificate | None = None
        self._config = config
        self._ledger = ledger
        self._keys = keys
        self._ca = authority
        self.policy = Policy.of(config)
        self._crls: dict[str, SignedCRL] = {}
        self._failures = FailureLimit()
        self._recorded = RecordLimit()
        self._seen = 0
        self._seen_issuing = len(authority.taken_up)
        self._renew_by_hand = Reminder()
        self._upkeep = Upkeep()
        self.ocsp = OCSP(ledger, keys, lifetime=config.crl_interval)

    @classmethod
    async def open(cls, config: TTPConfig) -> Self:
        """The daemon's way in: makes what is missing, from the state folder to a current CRL.

        Whoever calls this beside a running daemon (a token before the first start) does no harm:
        what is made is made under the ledger's write lock, once.

        Raises:
            ConfigError: it would listen on every address without a name.
            StateError: the state folder cannot be used; says why and what to do.
        """
        own_names(config)
        ca.constraints_of(config)
        await asyncio.to_thread(state.make_private_folder, config.state)
        await asyncio.to_thread(backup.check_whole, config.state)
        existed = await asyncio.to_thread(ca.exists, config.state)
        ledger = await Ledger.open(config.state, database=config.ledger, must_exist=existed)
        try:
            keys = await asyncio.to_thread(KeyFiles.of, config)
            authority = await ledger.write(lambda tx: ca.make(tx, config, keys, now=_now()))
            opened = cls(config, ledger, keys, authority)
            _log_ca(authority, config.state, "CA certificate found" if existed else "CA made")
            await opened._look_at_cas(has_root=authority.root_key is not None)
            if authority.root_key is not None:
                await opened.root_crl_der()
            else:
                log.info("the root's key is not here", path=str(keys.path(ca.ROOT)))
            await opened._renew_tls()
            await opened.look_after()
        except BaseException:
            await ledger.close()
            raise
        return opened

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
            authority = await ledger.read(
                lambda connection: ca.load(
                    connection, keys, now=_now(), status_url=config.status_url
                )
            )
        except BaseException:
            await ledger.close()
            raise
        return cls(config, ledger, keys, authority)

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
    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """What ``/cacerts`` hands out (RFC 7030, section 4.1.3): all issuing CAs, root last."""
        return self._ca.certificates

    @property
    def root(self) -> x509.Certificate:
        """The root certificate."""
        return self._ca.root

    @property
    def root_sha256(self) -> bytes:
        """The root's fingerprint, which join strings pin, 32 bytes."""
        return self._ca.root_sha256

    @property
    def tls_chain(self) -> Path:
        """The file with the TTP's TLS certificate, then its issuing CA."""
        return self.folder / "ttp.pem"

    @property
    def tls_key(self) -> Path:
        """The file with the TTP's TLS key."""
        return self._keys.path("ttp")

    @property
    def key_passphrase(self) -> Secret | None:
        """What the private keys are encrypted with at rest, if they are."""
        return self._keys.passphrase

    @property
    def crl(self) -> SignedCRL | None:
        """The current CRL of the CA that issues now, once there is one."""
        return self.crl_of(key_id_text(self._ca.issuing.certificate))

    def crl_of(self, key_id: str) -> SignedCRL | None:
        """The current CRL of the issuing CA with that key identifier (lower-case hex), if any."""
        return self._crls.get(key_id)

    @property
    def crl_der(self) -> bytes:
        """The current CRL of the CA that issues now (DER)."""
        if self.crl is None:
            raise CertificateError("no CRL was signed yet; start 'asynctls ttp', which signs one")
        return self.crl.der

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
        if names := outside(self._ca.issuing.certificate, grant.sans):
            problem = f"{', '.join(names)}: outside the name constraints of the issuing CA"
            raise ConfigError(Fault("name", "ttp token", problem))
        token_id, secret, digest = new_token()
        now = _now()
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

    async def enrol(
        self,
        token_id: str,
        secret: str,
        csr_der: bytes,
        *,
        address: str,
        tls_unique: bytes | None = None,
    ) -> x509.Certificate:
        """A certificate for the holder of a token (RFC 7030, section 4.2.1).

        The same token with the same key gets the same certificate again, within the token's time.

        Args:
            token_id: the user name of HTTP Basic.
            secret: its password.
            csr_der: the PKCS#10 request.
            address: from where it came, for the log and to slow down guessing.
            tls_unique: what a request is linked to its connection by (RFC 7030, section 3.5);
                None where the connection has nothing of the kind.

        Raises:
            EnrolmentPendingError: a person must approve it first.
            EnrolmentRefusedError: with the rule that said no and the HTTP status for it; a CSR that
                cannot be accepted is one of these (400), told only to who knows the secret.
            LedgerError: it could not be recorded; nothing was issued.
        """
        self._check_failures(address)
        asked = await asyncio.to_thread(
            Asked.read, csr_der, address=address, at=_now(), tls_unique=tls_unique
        )
        issuer, policy = self._ca.issuing, self.policy
        outcome = await self._ledger.write(
            lambda tx: issuance.enrol(
                tx, asked, token_id=token_id, secret=secret, issuer=issuer, policy=policy
            )
        )
        return await self._answer(outcome, asked)

    async def reenrol(
        self, current: bytes, csr_der: bytes, *, address: str, tls_unique: bytes | None = None
    ) -> x509.Certificate:
        """A new certificate for the holder of a valid one (RFC 7030, section 4.2.2).

        It has the same names, profile and lifetime. The same certificate with the same new key gets
        the same answer again.

        Args:
            current: the certificate (DER) that the TLS connection was made with.
            csr_der: the PKCS#10 request.
            address: from where it came, for the log.
            tls_unique: as for :meth:`enrol`.

        Raises:
            EnrolmentRefusedError: as for :meth:`enrol`.
            CertificateError: ``current`` is no certificate.
            LedgerError: it could not be recorded; nothing was issued.
        """
        certificate = certificate_from_der(current)
        asked = await asyncio.to_thread(
            Asked.read, csr_der, address=address, at=_now(), tls_unique=tls_unique
        )
        issuer, policy = self._ca.issuing, self.policy
        outcome = await self._ledger.write(
            lambda tx: issuance.reenrol(
                tx, asked, current=certificate, issuer=issuer, policy=policy
            )
        )
        return await self._answer(outcome, asked)

    async def pending(self) -> list[WaitingRequest]:
        """The requests that wait for a person, oldest first.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        now = _now()
        return await self._ledger.read(
            lambda connection: approvals.waiting_requests(connection, now)
        )

    async def approve(self, number: int) -> WaitingRequest:
        """Approves a request that waits; its client gets the certificate when it asks again.

        Raises:
            EnrolmentError: no such request waits.
            LedgerError: it could not be recorded; nothing was approved.
        """
        approved = await self._ledger.write(lambda tx: approvals.approve(tx, number, now=_now()))
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
                authority=self._ca,
                now=_now(),
                crl_lifetime=self._config.crl_lifetime,
            )
        )
        for key_id, crl in done.crls.items():
            self._take(key_id, crl)
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

    async def list_certificates(
        self, only: CertificateStatus | None = None
    ) -> list[ListedCertificate]:
        """Every certificate issued to a role, oldest first, or those of one status.

        What was revoked stays ``revoked`` after its end.
        """
        now = _now()
        found = [each.listed(now) for each in await self._ledger.read(records.all_certificates)]
        return [each for each in found if only is None or each.status == only]

    async def show(self, which: str) -> list[CertificateDetails]:
        """All that is recorded of a serial number, or of every certificate of exactly a name.

        Raises:
            CertificateError: there is none.
            LedgerError: the ledger cannot be read.
        """
        now = _now()
        return await self._ledger.read(lambda connection: details_of(connection, which, now=now))

    async def count_rows(self, *, after: int) -> LedgerCount:
        """The ledger's rows by kind, those beyond the sequence ``after``.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        root = key_id_text(self.root)
        return await self._ledger.read(partial(records.count_rows, after=after, root=root))

    @property
    def observer(self) -> TTPObserver:
        """Who is told of what this authority does."""
        return self._ledger.observer

    def observe(self, observer: TTPObserver) -> None:
        """Has ``observer`` told from now on."""
        self._ledger.observer = observer

    def troubles(self) -> list[str]:
        """What keeps this TTP from doing its work now, in words for everybody; empty: nothing."""
        now = _now()
        crls = [self.crl_of(key_id_text(each.certificate)) for each in self._ca.issuers]
        return [*self._upkeep.troubles(), *(one for crl in crls for one in crl_troubles(crl, now))]

    async def verify(self, *, head: Head | None = None) -> Head:
        """Checks the ledger's chain; see :meth:`asynctls.ttp.ledger.Ledger.verify`."""
        return await self._ledger.verify(head=head)

    async def sign_root_crl(self) -> bytes:
        """Signs the root's own CRL (it revokes nothing) anew and returns it (DER).

        Raises:
            StateError: the root's key is not here.
        """
        return await self._root_crl(only_if_due=False)

    async def root_crl_der(self) -> bytes:
        """The root's current CRL (DER), signed anew when half of its time is over."""
        return await self._root_crl(only_if_due=True)

    async def _root_crl(self, *, only_if_due: bool) -> bytes:
        root, key_id = self._ca.root_issuer, key_id_text(self._ca.root)
        held = await self._ledger.read(partial(records.latest_crl, issuer=key_id))
        if root is None:
            if held is None or not only_if_due:
                raise StateError(_no_root_crl(held))
            return held.der
        if held is not None and only_if_due and not status.is_root_due(held, _now()):
            return held.der
        crl = await self._ledger.write(
            lambda tx: status.sign_root(tx, root, now=_now(), only_if_due=only_if_due)
        )
        return crl.der

    async def export_root_key(self, file: Path) -> None:
        """Moves the root's private key into a file: to be taken off this host.

        Raises:
            StateError: the key is not here, or ``file`` cannot be written; then it stays here.
        """
        await self._ledger.write(
            lambda tx: offline_root.export_key(tx, self._ca, self._keys, file, now=_now())
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
            lambda tx: offline_root.import_crl(tx, self._ca, content, now=_now())
        )
        ours = {each.certificate.serial_number for each in self._ca.issuers}
        if crl.serials & ours:
            log.error("the root has revoked an issuing CA that is in use", lists=str(crl))
        return crl

    async def maintain(self) -> None:
        """The daemon's task: CRL and TLS certificate stay current, whoever else writes; endless.

        A failure is logged and tried again; the last good CRL goes on being served.
        """
        while True:
            try:
                await self.look_after()
                self._upkeep.done()
            except AsynctlsError as error:
                self._upkeep.failed(error)
                log.exception("the TTP's own upkeep failed; it is tried again", reason=str(error))
                await asyncio.sleep(_AFTER_FAILURE_S)
            await asyncio.sleep(POLL_S)

    async def look_after(self) -> None:
        """One round of :meth:`maintain`: another's CRL is taken, our own signed when it is due.

        Raises:
            StateError: the ledger or a file cannot be read or written.
        """
        head = await self._ledger.head()
        moved = head.sequence != self._seen
        if moved:
            await self._fetch_crls()
            self._seen = head.sequence
        now = _now()
        self._ca = self._ca.at(now)
        await self._sign_what_is_due(self._ca, now)
        await self.ocsp.look_after(self._ca, now=now)
        if self.tls_certificate is not None and own_tls.is_due(self.tls_certificate, self._ca, now):
            await self._renew_tls()
        # Last: a successor that cannot be had must not keep the CRLs from being signed.
        has_root = await asyncio.to_thread(self._keys.path(ca.ROOT).exists)
        had_root = self._ca.root_key is not None
        if moved or has_root != had_root or succession.is_due(self._ca, self._config, now):
            await self._look_at_cas(has_root=has_root)

    async def _look_at_cas(self, *, has_root: bool) -> None:
        """Takes up what another process brought in or took away, makes the successor when due."""
        count = await self._ledger.read(partial(records.count_own_certificates, name=ca.ISSUING))
        now = _now()
        due = succession.is_due(self._ca, self._config, now)
        changed = count != self._seen_issuing or has_root != (self._ca.root_key is not None)
        if changed or (due and has_root):
            known = self._ca.taken_up
            renewed = await self._ledger.write(
                lambda tx: succession.renew(tx, self._config, self._keys, now=now)
            )
            # Nobody shall hear of a CA whose CRL cannot be had yet.
            await self._sign_what_is_due(renewed, now)
            self._ca = renewed
            self._seen_issuing = count
            await asyncio.to_thread(succession.forget_next, self._keys, renewed)
            if len(renewed.taken_up) > len(known) > 0:
                _log_successor(renewed)
        if not due:
            self._renew_by_hand.reset()
        elif not has_root:
            self._ask_for_successor(now)

    def _ask_for_successor(self, now: datetime) -> None:
        end = self._ca.taken_up[-1][1].certificate.not_valid_after_utc
        if self._renew_by_hand.is_due(end - now):
            log.warning(
                "the issuing CA must be renewed by hand",
                ends=end.isoformat(),
                reason="the root's key is not here: have the root sign what 'asynctls ttp issuing "
                "--csr' prints, and bring it by 'asynctls ttp issuing --import'",
            )

    async def _sign_what_is_due(self, authority: ca.CertificateAuthority, now: datetime) -> None:
        for issuer in authority.issuers:
            await self._sign_if_due(authority, issuer, now)

    async def _sign_if_due(
        self, authority: ca.CertificateAuthority, issuer: Issuer, now: datetime
    ) -> None:
        config, key_id = self._config, key_id_text(issuer.certificate)
        if status.is_due(
            self.crl_of(key_id),
            interval=config.crl_interval,
            lifetime=config.crl_lifetime,
            now=now,
        ):
            crl = await self._ledger.write(
                lambda tx: status.sign_if_due(
                    tx,
                    authority,
                    issuer,
                    now=_now(),
                    lifetime=config.crl_lifetime,
                    interval=config.crl_interval,
                )
            )
            self._take(key_id, crl)

    async def _answer(self, outcome: Granted | Refused | Waiting, asked: Asked) -> x509.Certificate:
        if isinstance(outcome, Refused):
            left_out: int | None = 0
            credential = outcome.token_id or outcome.serial
            if credential is None:
                # Looked at again and counted without an await in between: of guesses that came at
                # once, all were let in before the first of them had failed.
                self._check_failures(asked.address)
                self._failures.failed(asked.address)
            else:
                left_out = self._recorded.take(credential)
            if left_out is not None:
                refused, before = outcome, left_out
                await self._ledger.write(
                    lambda tx: issuance.record(tx, asked, refused, left_out=before)
                )
        return issuance.answer(outcome, asked.address)

    def _check_failures(self, address: str) -> None:
        wait_s = math.ceil(self._failures.retry_after_s(address))
        if wait_s > 0:
            log.warning("enrolment refused", rule=Rule.RATE_LIMITED.text, address=address)
            raise EnrolmentRefusedError(
                f"too many wrong tokens came from {address}; wait {wait_s} s",
                status=Rule.RATE_LIMITED.status,
                rule=Rule.RATE_LIMITED.text,
                retry_after_s=wait_s,
            )

    async def _fetch_crls(self) -> None:
        for issuer in self._ca.issuers:
            key_id = key_id_text(issuer.certificate)
            number = await self._ledger.read(partial(records.latest_crl_number, issuer=key_id))
            held = self.crl_of(key_id)
            if number is None or (held is not None and held.number == number):
                continue
            crl = await self._ledger.read(partial(records.latest_crl, issuer=key_id))
            if crl is not None:
                self._take(key_id, crl)

    def _take(self, key_id: str, crl: SignedCRL) -> None:
        held = self.crl_of(key_id)
        if held is not None and held.number >= crl.number:
            return
        self._crls[key_id] = crl
        # It may say what was revoked; who asks from here on finds that in the ledger.
        self.ocsp.forget()
        log.info(
            "CRL current", number=crl.number, ca=key_id, next_update=crl.next_update.isoformat()
        )

    async def _renew_tls(self) -> None:
        names = own_names(self._config)
        if left_out := outside(self._ca.issuing.certificate, names):
            if names[0] in left_out:
                raise StateError(
                    f"the TTP's own name {names[0]} is outside the name constraints of its issuing "
                    "CA, so nobody would connect to it: give it another by --name"
                )
            names = tuple(name for name in names if name not in left_out)
        self.tls_certificate = await self._ledger.write(
            lambda tx: own_tls.make(tx, self._ca, self._keys, names=names, now=_now())
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _no_root_crl(held: SignedCRL | None) -> str:
    number = "there is none yet" if held is None else f"the last one has number {held.number}"
    return (
        f"the root's key is not here, so its CRL is signed elsewhere ({number}) and brought by "
        "'asynctls ttp root --import-crl FILE'"
    )


def _log_successor(authority: ca.CertificateAuthority) -> None:
    _, newest = authority.taken_up[-1]
    log.info(
        "new issuing CA published",
        ca=key_id_text(newest.certificate),
        ends=newest.certificate.not_valid_after_utc.isoformat(),
        issues_from=authority.issues_from(newest).isoformat(),
    )


def _log_ca(authority: ca.CertificateAuthority, folder: Path, event: str) -> None:
    issuing, root = authority.issuing.certificate, authority.root
    log.info(
        event,
        path=str(folder / "root.pem"),
        valid_days=round((root.not_valid_after_utc - _now()) / timedelta(days=1)),
        issuing_valid_days=round((issuing.not_valid_after_utc - _now()) / timedelta(days=1)),
        sha256=authority.root_sha256.hex(),
    )
