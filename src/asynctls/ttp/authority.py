"""The authority: may this be issued? Then issue it, record it, and only then say so.

It asks :mod:`~asynctls.ttp.policy`, builds by :mod:`asynctls.pki.profiles`, and stores in the
:class:`~asynctls.ttp.ledger.Ledger`; none of them does another's work. Nothing that signs or
touches the disk runs on the event loop: it is an operation of the ledger's writer thread.

The daemon calls :meth:`Authority.open` and runs :meth:`Authority.maintain`; the admin commands call
:meth:`Authority.beside`, beside a running daemon or without one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from asynctls import state
from asynctls.errors import CertificateError, LedgerError
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.profiles import key_id_text
from asynctls.ttp import backup, ca, clock, issuance, succession
from asynctls.ttp.administration import Administration
from asynctls.ttp.desk import Desk
from asynctls.ttp.issuance import Asked
from asynctls.ttp.keyfiles import KeyFiles
from asynctls.ttp.ledger import Ledger
from asynctls.ttp.public_address import own_names

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.mac import Secret
    from asynctls.ttp.crls import SignedCRL
    from asynctls.ttp.observing import TTPObserver
    from asynctls.ttp.ocsp import OCSP

__all__ = ["Authority"]

log = get_logger()

_CLOSE_S = 2.0
_SHORT_BYTES = 2048
"""A request for an RSA-4096 key and a dozen names."""


class Authority(Administration):
    """A TTP as its daemon has it: all that an admin may do, and issuing, and its own upkeep."""

    def __init__(
        self, config: TTPConfig, ledger: Ledger, keys: KeyFiles, cas: ca.CertificateAuthority
    ) -> None:
        super().__init__(config, ledger, keys, cas)
        self._desk = Desk(ledger)

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
            cas = await ledger.write(lambda tx: ca.make(tx, config, keys, now=clock.now()))
            await ledger.write(lambda tx: succession.check_passphrase(tx, keys))
            opened = cls(config, ledger, keys, cas)
            _log_ca(cas, config.state, "CA certificate found" if existed else "CA made")
            await opened._care.start()
        except BaseException:
            await ledger.close()
            raise
        return opened

    @property
    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """What ``/cacerts`` hands out (RFC 7030, section 4.1.3): all issuing CAs, root last."""
        return self._care.cas.certificates

    @property
    def tls_certificate(self) -> x509.Certificate | None:
        """What the TTP shows in TLS (files ``tls_chain``, ``tls_key``); None beside a daemon.

        Another object once :meth:`maintain` has renewed it.
        """
        return self._care.tls_certificate

    @property
    def ocsp(self) -> OCSP:
        """Who answers for single certificates."""
        return self._care.ocsp

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
        return self.crl_of(key_id_text(self._care.cas.issuing.certificate))

    def crl_of(self, key_id: str) -> SignedCRL | None:
        """The current CRL of the issuing CA with that key identifier (lower-case hex), if any."""
        return self._care.crl_of(key_id)

    @property
    def crl_der(self) -> bytes:
        """The current CRL of the CA that issues now (DER)."""
        if self.crl is None:
            raise CertificateError("no CRL was signed yet; start 'asynctls ttp', which signs one")
        return self.crl.der

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
        self._desk.let_in(address)
        asked = await _read(csr_der, address, tls_unique)
        issuer, policy = self._care.cas.issuing, self.policy
        outcome = await self._ledger.write(
            lambda tx: issuance.enrol(
                tx, asked, token_id=token_id, secret=secret, issuer=issuer, policy=policy
            )
        )
        return await self._desk.answer(outcome, asked)

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
        asked = await _read(csr_der, address, tls_unique)
        issuer, policy = self._care.cas.issuing, self.policy
        outcome = await self._ledger.write(
            lambda tx: issuance.reenrol(
                tx, asked, current=certificate, issuer=issuer, policy=policy
            )
        )
        return await self._desk.answer(outcome, asked)

    @property
    def observer(self) -> TTPObserver:
        """Who is told of what this authority does."""
        return self._ledger.observer

    def observe(self, observer: TTPObserver) -> None:
        """Has ``observer`` told from now on."""
        self._ledger.observer = observer

    def troubles(self) -> list[str]:
        """What keeps this TTP from doing its work now, in words for everybody; empty: nothing."""
        return self._care.troubles()

    async def maintain(self) -> None:
        """The daemon's task: CRL and TLS certificate stay current, whoever else writes; endless.

        A failure is logged and tried again; the last good CRL goes on being served. Refusals
        without a row are accounted for each hour.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._care.maintain())
            tasks.create_task(self._desk.maintain())

    def note_refused(self, rule: str) -> None:
        """Somebody was sent away by ``rule`` before the request came as far as this."""
        self._desk.count(rule)

    async def account_for_refusals(self) -> None:
        """Records how many were sent away without a row of their own, if any were.

        Raises:
            LedgerError: it could not be recorded; they are counted still.
        """
        await self._desk.account()

    async def close(self) -> None:
        """As :meth:`Administration.close`, once all refusals are accounted for."""
        with suppress(LedgerError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._desk.account()
        await super().close()

    async def look_after(self) -> None:
        """One round of :meth:`maintain`: another's CRL is taken, our own signed when it is due.

        Raises:
            StateError: the ledger or a file cannot be read or written.
        """
        await self._care.look_after()


async def _read(csr_der: bytes, address: str, tls_unique: bytes | None) -> Asked:
    def read() -> Asked:
        return Asked.read(csr_der, address=address, at=clock.now(), tls_unique=tls_unique)

    # What to read a short one costs is less than half a handshake, which is made on the loop too;
    # the way to a thread and back costs as much again.
    return read() if len(csr_der) <= _SHORT_BYTES else await asyncio.to_thread(read)


def _log_ca(cas: ca.CertificateAuthority, folder: Path, event: str) -> None:
    issuing, root = cas.issuing.certificate, cas.root
    log.info(
        event,
        path=str(folder / "root.pem"),
        valid_days=round((root.not_valid_after_utc - clock.now()) / timedelta(days=1)),
        issuing_valid_days=round((issuing.not_valid_after_utc - clock.now()) / timedelta(days=1)),
        sha256=cas.root_sha256.hex(),
    )
