"""What a TTP keeps current by itself: CRLs, issuing CAs, OCSP responders, its TLS certificate.

Other processes write to the same ledger (an admin's command, another TTP), so each round looks
whether its head has moved, and takes up what they brought before it makes anything of its own.
Nothing that signs or touches the disk runs on the event loop: it is an operation of the ledger's
writer thread.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from asynctls.errors import AsynctlsError, LedgerAwayError, StateError
from asynctls.logger import get_logger
from asynctls.pki.constraints import outside
from asynctls.pki.profiles import key_id_text
from asynctls.ttp import ca, clock, crls, offline_root, own_tls, records, status, succession
from asynctls.ttp.health import Upkeep, crl_troubles
from asynctls.ttp.ocsp import OCSP
from asynctls.ttp.public_address import own_names
from asynctls.ttp.reminders import Reminder

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from asynctls.config import TTPConfig
    from asynctls.pki.profiles import Issuer
    from asynctls.ttp.crls import SignedCRL
    from asynctls.ttp.keyfiles import KeyFiles
    from asynctls.ttp.ledger import Ledger

__all__ = ["Caretaker"]

log = get_logger()

POLL_S = 0.5
"""How often the daemon looks whether somebody else moved the head: half of what a CRL may take."""

_AFTER_FAILURE_S = 5.0


class Caretaker:
    """What one authority signs with and shows, kept as it should be now.

    Attributes:
        cas: root and issuing CAs as they stand.
        tls_certificate: what the TTP shows in TLS; None until `start`.
        ocsp: who answers for single certificates.
    """

    def __init__(
        self, config: TTPConfig, ledger: Ledger, keys: KeyFiles, cas: ca.CertificateAuthority
    ) -> None:
        self.cas = cas
        self.tls_certificate: x509.Certificate | None = None
        self.ocsp = OCSP(ledger, keys, lifetime=config.crl_interval)
        self._config = config
        self._ledger = ledger
        self._keys = keys
        self._crls: dict[str, SignedCRL] = {}
        self._seen = 0
        self._seen_issuing = len(cas.taken_up)
        self._renew_by_hand = Reminder()
        self._next_root_crl = offline_root.CRLReminder()
        self._upkeep = Upkeep()

    def follow(self, config: TTPConfig) -> None:
        """Another config counts from now on: for how often and how long what is signed next."""
        self._config = config
        self.ocsp.lifetime = config.crl_interval

    async def start(self) -> None:
        """The daemon's first round: makes what is missing, up to a current CRL.

        Raises:
            StateError: the ledger or a file cannot be read or written.
        """
        has_root = self.cas.root_key is not None
        await self._look_at_cas(has_root=has_root)
        if has_root:
            await self.root_crl()
        else:
            log.info("the root's key is not here", path=str(self._keys.path(ca.ROOT)))
        await self._renew_tls()
        await self.look_after()

    async def maintain(self) -> None:
        """Looks after everything until it is cancelled.

        A failure is logged once and tried again; the last good CRL goes on being served.
        """
        told = ""
        while True:
            try:
                await self.look_after()
                self._upkeep.done()
                if told:
                    log.info("the TTP's own upkeep works again")
                told = ""
            except LedgerAwayError as error:
                # The ledger has logged it, once for all who ask, and logs its end.
                self._upkeep.failed(error)
                await asyncio.sleep(_AFTER_FAILURE_S)
            except AsynctlsError as error:
                self._upkeep.failed(error)
                if str(error) != told:
                    told = str(error)
                    # It has words, and needs no traceback.
                    log.error(  # noqa: TRY400
                        "the TTP's own upkeep failed; it is tried again", reason=told
                    )
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
        now = clock.now()
        self.cas = self.cas.at(now)
        await self._sign_what_is_due(self.cas, now)
        await self.ocsp.look_after(self.cas, now=now)
        if self.tls_certificate is not None and own_tls.is_due(self.tls_certificate, self.cas, now):
            await self._renew_tls()
        # Last: a successor that cannot be had must not keep the CRLs from being signed.
        has_root = await asyncio.to_thread(self._keys.path(ca.ROOT).exists)
        had_root = self.cas.root_key is not None
        if moved or has_root != had_root or succession.is_due(self.cas, self._config, now):
            await self._look_at_cas(has_root=has_root)
        if moved:
            await self._look_at_root_crl()
        # Only now: what failed above is to be done again in the next round.
        self._seen = head.sequence

    def troubles(self) -> list[str]:
        """What keeps this TTP from doing its work now, in words for everybody; empty: nothing."""
        now = clock.now()
        held = [self.crl_of(key_id_text(each.certificate)) for each in self.cas.issuers]
        return [*self._upkeep.troubles(), *(one for crl in held for one in crl_troubles(crl, now))]

    def crl_of(self, key_id: str) -> SignedCRL | None:
        """The current CRL of the issuing CA with that key identifier (lower-case hex), if any."""
        return self._crls.get(key_id)

    def take(self, key_id: str, crl: SignedCRL) -> None:
        """Serves a CRL from now on, if it is newer than the one that is served.

        Args:
            key_id: of the issuing CA that signed it.
            crl: as the ledger has it.
        """
        held = self.crl_of(key_id)
        if held is not None and held.number >= crl.number:
            return
        self._crls[key_id] = crl
        # It may say what was revoked; who asks from here on finds that in the ledger.
        self.ocsp.forget()
        log.info(
            "CRL current", number=crl.number, ca=key_id, next_update=crl.next_update.isoformat()
        )

    async def root_crl(self, *, only_if_due: bool = True) -> bytes:
        """The root's CRL (DER), signed anew: always, or when half of its time is over.

        Raises:
            StateError: it would have to be signed, and the root's key is not here.
        """
        root, key_id = self.cas.root_issuer, key_id_text(self.cas.root)
        held = await self._ledger.read(partial(crls.latest, issuer=key_id))
        if root is None:
            if held is None or not only_if_due:
                raise StateError(_no_root_crl(held))
            return held.der
        if held is not None and only_if_due and not status.is_root_due(held, clock.now()):
            return held.der
        crl = await self._ledger.write(
            lambda tx: status.sign_root(tx, root, now=clock.now(), only_if_due=only_if_due)
        )
        return crl.der

    async def _look_at_root_crl(self) -> None:
        """Whoever asks for the root's CRL gets a current one; this is for who was given it once."""
        if self.cas.root_key is not None:
            await self.root_crl()
            return
        key_id = key_id_text(self.cas.root)
        held = await self._ledger.read(partial(crls.latest, issuer=key_id))
        self._next_root_crl.look(held, clock.now())

    async def _look_at_cas(self, *, has_root: bool) -> None:
        """Takes up what another process brought in or took away, makes the successor when due."""
        count = await self._ledger.read(partial(records.count_own_certificates, name=ca.ISSUING))
        now = clock.now()
        due = succession.is_due(self.cas, self._config, now)
        changed = count != self._seen_issuing or has_root != (self.cas.root_key is not None)
        if changed or (due and has_root):
            known = self.cas.taken_up
            renewed = await self._ledger.write(
                lambda tx: succession.renew(tx, self._config, self._keys, now=now)
            )
            # Nobody shall hear of a CA whose CRL cannot be had yet.
            await self._sign_what_is_due(renewed, now)
            self.cas = renewed
            self._seen_issuing = count
            await asyncio.to_thread(succession.forget_next, self._keys, renewed)
            if len(renewed.taken_up) > len(known) > 0:
                _log_successor(renewed)
        if not due:
            self._renew_by_hand.reset()
        elif not has_root:
            self._ask_for_successor(now)

    def _ask_for_successor(self, now: datetime) -> None:
        end = self.cas.taken_up[-1][1].certificate.not_valid_after_utc
        if self._renew_by_hand.is_due(end - now):
            log.warning(
                "the issuing CA must be renewed by hand",
                ends=end.isoformat(),
                reason="the root's key is not here: have the root sign what 'asynctls ttp issuing "
                "--csr' prints, and bring it by 'asynctls ttp issuing --import'",
            )

    async def _fetch_crls(self) -> None:
        for issuer in self.cas.issuers:
            key_id = key_id_text(issuer.certificate)
            number = await self._ledger.read(partial(crls.latest_number, issuer=key_id))
            held = self.crl_of(key_id)
            if number is None or (held is not None and held.number == number):
                continue
            crl = await self._ledger.read(partial(crls.latest, issuer=key_id))
            if crl is not None:
                self.take(key_id, crl)

    async def _sign_what_is_due(self, cas: ca.CertificateAuthority, now: datetime) -> None:
        for issuer in cas.issuers:
            await self._sign_if_due(cas, issuer, now)

    async def _sign_if_due(
        self, cas: ca.CertificateAuthority, issuer: Issuer, now: datetime
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
                    cas,
                    issuer,
                    now=clock.now(),
                    lifetime=config.crl_lifetime,
                    interval=config.crl_interval,
                )
            )
            self.take(key_id, crl)

    async def _renew_tls(self) -> None:
        names = own_names(self._config)
        if left_out := outside(self.cas.issuing.certificate, names):
            if names[0] in left_out:
                raise StateError(
                    f"the TTP's own name {names[0]} is outside the name constraints of its issuing "
                    "CA, so nobody would connect to it: give it another by --name"
                )
            names = tuple(name for name in names if name not in left_out)
        self.tls_certificate = await self._ledger.write(
            lambda tx: own_tls.make(tx, self.cas, self._keys, names=names, now=clock.now())
        )


def _no_root_crl(held: SignedCRL | None) -> str:
    number = "there is none yet" if held is None else f"the last one has number {held.number}"
    return (
        f"the root's key is not here, so its CRL is signed elsewhere ({number}) and brought by "
        "'asynctls ttp root --import-crl FILE'"
    )


def _log_successor(cas: ca.CertificateAuthority) -> None:
    _, newest = cas.taken_up[-1]
    log.info(
        "new issuing CA published",
        ca=key_id_text(newest.certificate),
        ends=newest.certificate.not_valid_after_utc.isoformat(),
        issues_from=cas.issues_from(newest).isoformat(),
    )
