"""The server half of EST (RFC 7030, RFC 8951), and what else the TTP's address answers.

A table of paths, and for each the few lines between HTTP and the authority: who asks, in what
form, and which status a refusal has. A refusal's body is one line, ``rule: reason``.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynctls.enrolment import est_certificates, est_codec
from asynctls.enrolment.csr_attributes import csr_attributes
from asynctls.errors import EnrolmentPendingError, EnrolmentRefusedError, LedgerError, RequestError
from asynctls.http import Request, Response
from asynctls.logger import get_logger
from asynctls.pki.certificates import to_der
from asynctls.runtime.sparing import Sparing
from asynctls.ttp.public import PublicPages, not_now

if TYPE_CHECKING:
    from cryptography import x509

    from asynctls.http.messages import Headers
    from asynctls.ttp.authority import Authority

__all__ = ["EST", "Asker"]

log = get_logger()

_ISSUED = (
    ("Content-Type", f"{est_codec.CERTIFICATES_TYPE}; smime-type=certs-only"),
    ("Content-Transfer-Encoding", "base64"),
)
_ATTRIBUTES = (
    ("Content-Type", est_codec.ATTRIBUTES_TYPE),
    ("Content-Transfer-Encoding", "base64"),
)
# RFC 7030, section 3.2.3; RFC 7617, section 2.1.
_CHALLENGE = (("WWW-Authenticate", 'Basic realm="asynctls", charset="UTF-8"'),)
_PENDING = "approval-pending"
_FRESH = (("Cache-Control", "no-store"),)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is at the other end of a connection: its address, the certificate that TLS verified.

    ``tls_unique`` (RFC 5929) is None where the connection has none that can be relied on.
    """

    address: str
    certificate: bytes | None
    tls_unique: bytes | None = None


_Answer = Callable[[Request, Asker], Awaitable[Response]]


class EST:
    """Answers the requests of all connections, out of one authority.

    Attributes:
        public: what it answers without TLS as well.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.public = PublicPages(authority)
        self._sparing = Sparing()
        self._paths: dict[str, tuple[str, _Answer]] = {
            est_codec.CACERTS: ("GET", self._cacerts),
            est_codec.CSRATTRS: ("GET", self._csrattrs),
            est_codec.SIMPLE_ENROLL: ("POST", self._simple_enroll),
            est_codec.SIMPLE_REENROLL: ("POST", self._simple_reenroll),
            est_codec.HEALTH: ("GET", self._health),
        }

    async def answer(self, request: Request, asker: Asker) -> Response:
        """The answer to one request; only what nobody foresaw is raised."""
        try:
            return await self._answer(request, asker)
        except LedgerError as error:
            left_out = self._sparing.left_out("request not answered")
            if left_out is not None:
                log.warning("request not answered", reason=str(error), left_out=left_out)
            return not_now()

    async def _answer(self, request: Request, asker: Asker) -> Response:
        method, answer = self._paths.get(request.path, ("", None))
        if answer is None:
            return await self.public.answer(request)
        if request.method != method:
            allowed = "GET, HEAD" if method == "GET" else method
            return Response.text(405, f"use {allowed} here", headers=(("Allow", allowed),))
        try:
            return await answer(request, asker)
        except EnrolmentPendingError as error:
            # RFC 7030, section 4.2.3; the client repeats its request, with the same key.
            headers = (("Retry-After", str(error.retry_after_s)),)
            return Response.text(202, f"{_PENDING}: {error}", headers=headers)
        except EnrolmentRefusedError as error:
            # The authority has logged its own, with the name that only it knows.
            self._authority.observer.refused(error.rule)
            return _refusal(error)
        except _RefusedError as refused:
            log.warning(
                "enrolment refused",
                address=asker.address,
                name=None,
                rule=refused.error.rule,
                reason=str(refused.error),
            )
            self._authority.observer.refused(refused.error.rule)
            self._authority.note_refused(refused.error.rule)
            return _refusal(refused.error)

    async def _cacerts(self, request: Request, _asker: Asker) -> Response:
        certificates = self._authority.ca_certificates
        tag = est_codec.ca_tag(map(to_der, certificates))
        if request.holds(tag):
            return Response(304, (("ETag", tag),))
        body = est_certificates.encode_certificates(certificates)
        return Response(200, (*_ISSUED, ("ETag", tag)), body)

    async def _csrattrs(self, _request: Request, _asker: Asker) -> Response:
        # A grant fills in every name and a profile every extension, so what a request should have
        # beside its key is only what the policy wants; nothing is a 204 (RFC 7030, 4.5.2).
        policy = self._authority.policy
        wanted = csr_attributes(key_types=policy.key_types, link=policy.require_linking)
        if wanted is None:
            return Response(204)
        return Response(200, _ATTRIBUTES, est_codec.encode(wanted))

    async def _simple_enroll(self, request: Request, asker: Asker) -> Response:
        token_id, secret = _credential(request)
        certificate = await self._authority.enrol(
            token_id,
            secret,
            _posted(request),
            address=asker.address,
            tls_unique=asker.tls_unique,
        )
        return _issued(certificate)

    async def _simple_reenroll(self, request: Request, asker: Asker) -> Response:
        if asker.certificate is None:
            raise _RefusedError(
                403,
                "no-certificate",
                "renewal is by the current certificate, over mutual TLS; without one, enrol with "
                "a token",
            )
        certificate = await self._authority.reenrol(
            asker.certificate,
            _posted(request),
            address=asker.address,
            tls_unique=asker.tls_unique,
        )
        return _issued(certificate)

    async def _health(self, _request: Request, _asker: Asker) -> Response:
        troubles = self._authority.troubles()
        return Response.text(503 if troubles else 200, "; ".join(troubles) or "ok", headers=_FRESH)


class _RefusedError(Exception):
    """A request that does not come as far as the authority."""

    def __init__(self, status: int, rule: str, reason: str) -> None:
        self.error = EnrolmentRefusedError(reason, status=status, rule=rule)
        super().__init__(reason)


def _credential(request: Request) -> tuple[str, str]:
    """Token id and secret out of HTTP Basic (RFC 7617, section 2)."""
    scheme, _, encoded = (request.header("Authorization") or "").partition(" ")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        text = ""
    token_id, colon, secret = text.partition(":")
    if not colon or scheme.lower() != "basic":
        raise _RefusedError(
            401, "no-credential", "enrolment needs a token: its id and secret by HTTP Basic"
        )
    return token_id, secret


def _posted(request: Request) -> bytes:
    media_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if media_type != est_codec.REQUEST_TYPE:
        raise _RefusedError(
            415, "wrong-type", f"a request's Content-Type is {est_codec.REQUEST_TYPE}"
        )
    try:
        return est_codec.decode_request(request.body)
    except RequestError as error:
        raise _RefusedError(400, "malformed-request", str(error)) from error


def _issued(certificate: x509.Certificate) -> Response:
    # RFC 7030, section 4.2.3: the certificate that was issued, and no other.
    return Response(200, _ISSUED, est_certificates.encode_certificates([certificate]))


def _refusal(error: EnrolmentRefusedError) -> Response:
    headers: Headers = _CHALLENGE if error.status == 401 else ()
    if error.retry_after_s is not None:
        headers = (*headers, ("Retry-After", str(error.retry_after_s)))
    return Response.text(error.status, f"{error.rule}: {error}", headers=headers)
