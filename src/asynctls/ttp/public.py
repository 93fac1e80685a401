"""What anybody may fetch: CRLs, CA certificates, answers by OCSP.

It is served on the TTP's own address and, for programs that look a certificate up by the URLs in
it, on a listener for plain HTTP: each of these is signed, and TLS would need a certificate to be
looked up first (RFC 5280, sections 4.2.1.13 and 8). OCSP over HTTP is RFC 6960, appendix A; what
caches are told is RFC 5019, section 6.
"""

from __future__ import annotations

import base64
import hashlib
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from asynctls.enrolment import est_codec
from asynctls.errors import LedgerError, StateError
from asynctls.http import Request, Response
from asynctls.pki.certificates import to_der
from asynctls.pki.ocsp import Answer, Unanswered
from asynctls.pki.profiles import key_id_text
from asynctls.ttp.ocsp import REUSED_FOR

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynctls.http.messages import Headers
    from asynctls.ttp.authority import Authority
    from asynctls.ttp.crls import SignedCRL

__all__ = ["PublicPages", "not_now"]

_REQUEST_TYPE = "application/ocsp-request"
_ANSWER_TYPE = (("Content-Type", "application/ocsp-response"),)
_CERTIFICATE_TYPE = (("Content-Type", "application/pkix-cert"),)
_CRL_TYPE = (("Content-Type", est_codec.CRL_TYPE),)
_FOR_A_MINUTE = (("Cache-Control", "max-age=60"),)
_NO_STORE = (("Cache-Control", "no-store"),)
_ROOT_CRL_S = 2.0
# As often as the TTP's upkeep looks whether it can be used again.
_RETRY_S = "5"

_Page: TypeAlias = "Callable[[], Awaitable[Response]]"


class PublicPages:
    """Answers GET (and POST for OCSP) out of one authority; keeps nothing of who asks."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._root_crl: tuple[float, bytes] | None = None

    async def answer(self, request: Request) -> Response:
        """The answer to one request; 404 for what is at none of these paths."""
        page, methods = self._page(request)
        if page is None:
            return Response.text(404, "there is nothing at this path")
        if request.method not in methods:
            # A server answers HEAD wherever it answers GET (RFC 9110, section 9.3.2).
            allowed = ", ".join((*methods, "HEAD") if "GET" in methods else methods)
            return Response.text(405, f"use {allowed} here", headers=(("Allow", allowed),))
        return await page()

    def _page(self, request: Request) -> tuple[_Page | None, tuple[str, ...]]:
        path = request.path
        # What stands below /crl, /ca or /ocsp.
        below = path.partition("/")[2].partition("/")[2]
        page: _Page | None = None
        methods = ("GET",)
        match path:
            case est_codec.CRL:
                page = partial(self._crl, request, self._authority.crl)
            case est_codec.ROOT_CRL:
                page = partial(self._crl_of_root, request)
            case est_codec.OCSP:
                page, methods = partial(self._ocsp_posted, request), ("POST",)
            case _ if path == est_codec.crl_path(below):
                page = partial(self._crl, request, self._authority.crl_of(below))
            case _ if path == est_codec.ca_path(below):
                page = partial(self._ca, below)
            case _ if path == f"{est_codec.OCSP}/{below}":
                page = partial(self._ocsp_got, below)
        return page, methods

    async def _crl(self, request: Request, crl: SignedCRL | None) -> Response:
        if crl is None:
            return Response.text(404, "there is no CRL of such a CA")
        since = ("Last-Modified", format_datetime(crl.this_update, usegmt=True))
        return _unless_held(request, crl.der, (since,))

    async def _crl_of_root(self, request: Request) -> Response:
        now = time.monotonic()
        if self._root_crl is None or now > self._root_crl[0] + _ROOT_CRL_S:
            # Asking reads the ledger, which not everybody shall do at will.
            try:
                self._root_crl = (now, await self._authority.root_crl_der())
            except LedgerError:
                return not_now()
            except StateError as error:
                # One that an operator has yet to bring.
                return Response.text(404, str(error))
        return _unless_held(request, self._root_crl[1])

    async def _ca(self, key_id: str) -> Response:
        for certificate in self._authority.ca_certificates:
            if key_id_text(certificate) == key_id:
                return Response(200, (*_CERTIFICATE_TYPE, *_FOR_A_MINUTE), to_der(certificate))
        return Response.text(404, "there is no such CA")

    async def _ocsp_posted(self, request: Request) -> Response:
        media_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
        if media_type != _REQUEST_TYPE:
            return Response.text(415, f"an OCSP request's Content-Type is {_REQUEST_TYPE}")
        answer = await self._authority.ocsp.answer(request.body)
        der = answer.der
        # Nothing keeps the answer to a POST; said all the same, for caches that think otherwise.
        return Response(200, (*_ANSWER_TYPE, *_NO_STORE), der)

    async def _ocsp_got(self, encoded: str) -> Response:
        answer = await self._authority.ocsp.answer(_decoded(encoded))
        if isinstance(answer, Unanswered) or answer.is_for_one:
            return Response(200, (*_ANSWER_TYPE, *_NO_STORE), answer.der)
        return Response(200, (*_ANSWER_TYPE, *_for_caches(answer)), answer.der)


def not_now() -> Response:
    """While the ledger cannot be used; in words that tell a stranger nothing of files and hosts."""
    return Response.text(
        503, "the ledger cannot be used now: try again", headers=(("Retry-After", _RETRY_S),)
    )


def _unless_held(request: Request, crl: bytes, headers: Headers = ()) -> Response:
    """A CRL; without its bytes for who has them."""
    tag = est_codec.crl_tag(crl)
    headers = (*headers, ("ETag", tag), *_FOR_A_MINUTE)
    if request.holds(tag):
        return Response(304, headers)
    return Response(200, (*_CRL_TYPE, *headers), crl)


def _decoded(encoded: str) -> bytes:
    """A request out of a URL: base64, then percent-encoded (RFC 6960, appendix A.1).

    Some clients leave '/', '+' and '=' as they are, and some leave the padding out; what is not
    base64 is left for the reader of requests to refuse.
    """
    text = unquote(encoded).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""


def _for_caches(answer: Answer) -> Headers:
    """RFC 5019, section 6.2; for no longer than the same bytes would be handed out here."""
    now = datetime.now(UTC)
    end = min(answer.this_update + REUSED_FOR, answer.next_update)
    left_s = max(0, (end - now) // timedelta(seconds=1))
    return (
        ("Last-Modified", format_datetime(answer.this_update, usegmt=True)),
        ("Expires", format_datetime(end, usegmt=True)),
        ("ETag", f'"{hashlib.sha256(answer.der).hexdigest()}"'),
        ("Cache-Control", f"max-age={left_s}, public, no-transform, must-revalidate"),
    )
