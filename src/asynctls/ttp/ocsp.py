"""The TTP's OCSP responder (RFC 6960): what the ledger says of a certificate, signed.

What is said is looked up in the ledger and not in the last CRL. What was found counts for a minute,
unless something is revoked meanwhile, and so does an answer to a question without a nonce: then the
same bytes serve a whole fleet that asks for one server. A certificate that was never issued is
``unknown``, and not ``good`` (section 2.2).

Anybody may ask, and each question with a nonce costs a signature, one for what was never issued a
look into the ledger: there is a limit to how many are worked on at once, and further ones are told
to try later.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from asynctls.errors import CertificateError, LedgerError, RequestError
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificate_from_der
from asynctls.pki.names import format_serial
from asynctls.pki.ocsp import (
    Answer,
    IssuerID,
    NotRevoked,
    Responder,
    Unanswered,
    issuer_ids,
    read_request,
)
from asynctls.pki.profiles import key_id_text
from asynctls.pki.status import Revoked
from asynctls.runtime.sparing import Sparing
from asynctls.ttp import clock, own_ocsp
from asynctls.ttp.schema import Kind, RevocationBody, entries, is_kind, readable

if TYPE_CHECKING:
    from cryptography import x509

    from asynctls.pki.ocsp import Status, StatusRequest
    from asynctls.ttp.ca import CertificateAuthority
    from asynctls.ttp.keyfiles import KeyFiles
    from asynctls.ttp.ledger import Ledger

__all__ = ["OCSP", "REUSED_FOR"]

log = get_logger()

REUSED_FOR = timedelta(seconds=60)
"""For how long an answer is handed out again, and may be kept by a cache."""

_MOST_AT_ONCE = 32
_MOST_KEPT = 10_000


@dataclass(slots=True)
class _Known:
    """How a certificate stood at a time, and the answer that says so to everybody, once asked."""

    status: Status
    at: datetime
    answer: Answer | None = None


class OCSP:
    """Answers for every issuing CA of one authority.

    Attributes:
        lifetime: of the next answers, until their nextUpdate.
    """

    def __init__(self, ledger: Ledger, keys: KeyFiles, *, lifetime: timedelta) -> None:
        """Answers nothing before the first `look_after`.

        Args:
            ledger: what is asked about stands in it.
            keys: where the responders' keys are.
            lifetime: of an answer, until its nextUpdate.
        """
        self._ledger = ledger
        self._keys = keys
        self.lifetime = lifetime
        self._responders: dict[str, Responder] = {}
        self._by_issuer: dict[IssuerID, Responder] = {}
        self._known: OrderedDict[tuple[IssuerID, int], _Known] = OrderedDict()
        self._forgotten = 0
        self._at_once = 0
        self._sparing = Sparing()

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """The responders' certificates, one for each issuing CA."""
        return tuple(each.certificate for each in self._responders.values())

    async def look_after(self, authority: CertificateAuthority, *, now: datetime) -> None:
        """Makes what is missing, and renews what is due.

        Raises:
            StateError: a file or the ledger cannot be read or written.
        """
        responders = {}
        for issuer in authority.issuers:
            if issuer.certificate.not_valid_after_utc <= now:
                continue
            key_id = key_id_text(issuer.certificate)
            responder = self._responders.get(key_id)
            if responder is None or own_ocsp.is_due(responder, issuer.certificate, now):
                responder = await self._ledger.write(
                    partial(own_ocsp.make, issuer=issuer, keys=self._keys, now=now)
                )
            responders[key_id] = responder
        if responders != self._responders:
            self._responders = responders
            self._by_issuer = {
                each: responder
                for responder in responders.values()
                for each in issuer_ids(responder.issuer)
            }
            self.forget()

    def forget(self) -> None:
        """Something was revoked: nothing that was found before counts any more."""
        self._known.clear()
        self._forgotten += 1

    async def answer(self, der: bytes) -> Answer | Unanswered:
        """The answer to an OCSPRequest (DER); nothing that it holds makes this raise."""
        answer = await self._answer(der)
        self._ledger.observer.ocsp_answered(answer)
        return answer

    async def _answer(self, der: bytes) -> Answer | Unanswered:
        try:
            request = read_request(der)
        except RequestError as error:
            self._log_sparingly("OCSP request refused", str(error))
            return Unanswered.MALFORMED_REQUEST
        responder = self._by_issuer.get(request.issuer)
        if responder is None:
            return Unanswered.UNAUTHORIZED
        known = self._fresh(request)
        if known is not None and known.answer is not None and request.nonce is None:
            return known.answer
        if self._at_once >= _MOST_AT_ONCE:
            return Unanswered.TRY_LATER
        self._at_once += 1
        try:
            if known is None:
                known = await self._look_up(request, responder)
            return await self._sign(request, responder, known)
        except (CertificateError, LedgerError) as error:
            # The authority's upkeep meets it as well, and says what is to be done.
            self._log_sparingly("OCSP request not answered", str(error))
            return Unanswered.TRY_LATER
        finally:
            self._at_once -= 1

    def _fresh(self, request: StatusRequest) -> _Known | None:
        known = self._known.get((request.issuer, request.serial_number))
        return known if known is not None and clock.now() < known.at + REUSED_FOR else None

    async def _look_up(self, request: StatusRequest, responder: Responder) -> _Known:
        forgotten = self._forgotten
        # The time is taken before the look: what is said was so then (RFC 6960, section 4.2.2.1).
        at = clock.now()
        status = await self._ledger.read(
            partial(_status_of, responder=responder, serial_number=request.serial_number)
        )
        known = _Known(status, at)
        # 'unknown' is not kept: it may be issued the next moment, and strangers can ask for any.
        if status is not NotRevoked.UNKNOWN and forgotten == self._forgotten:
            self._known[request.issuer, request.serial_number] = known
            if len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)
        return known

    async def _sign(self, request: StatusRequest, responder: Responder, known: _Known) -> Answer:
        sign = partial(responder.sign, now=known.at, lifetime=self.lifetime)
        answer = await asyncio.to_thread(sign, request, known.status)
        if request.nonce is None:
            known.answer = answer
        return answer

    def _log_sparingly(self, event: str, reason: str) -> None:
        left_out = self._sparing.left_out(event)
        if left_out is not None:
            log.warning(event, reason=reason, left_out=left_out)


_revoked = entries.alias("revoked")
_issued = (
    sa.select(entries.c.der, _revoked.c.at, _revoked.c.body)
    .select_from(entries)
    .outerjoin(
        _revoked,
        sa.and_(is_kind(Kind.CERTIFICATE_REVOKED, _revoked), _revoked.c.serial == entries.c.serial),
    )
    .where(is_kind(Kind.CERTIFICATE_ISSUED), entries.c.serial == sa.bindparam("number"))
)
_own = sa.select(entries.c.der).where(
    is_kind(Kind.OWN_CERTIFICATE_ISSUED), entries.c.serial == sa.bindparam("number")
)


@readable()
def _status_of(connection: sa.Connection, responder: Responder, serial_number: int) -> Status:
    asked = {"number": format_serial(serial_number)}
    row = connection.execute(_issued, asked).one_or_none()
    if row is not None:
        if not _is_issued_by(responder, row.der):
            return NotRevoked.UNKNOWN
        if row.at is None:
            return NotRevoked.GOOD
        reason = msgspec.json.decode(row.body, type=RevocationBody).reason
        return Revoked(
            serial_number,
            clock.moment(row.at),
            None if reason == "unspecified" else reason,
        )
    der = connection.execute(_own, asked).scalar()
    its = der is not None and _is_issued_by(responder, der)
    return NotRevoked.GOOD if its else NotRevoked.UNKNOWN


def _is_issued_by(responder: Responder, der: bytes) -> bool:
    # Two CAs never share a name (`pki.profiles`), and rows from before schema 0002 say no more.
    return certificate_from_der(der).issuer == responder.issuer.subject
