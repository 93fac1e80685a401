"""The client half of EST (RFC 7030): what a role asks the TTP, once it knows who that is.

A TTP is told by its certificate: it leads to the pinned root, names the host, and carries
id-kp-cmcRA (RFC 7030, section 3.6; RFC 6402, section 2.10), which no token can grant. Else any
server of the same CA on the TTP's host could pose as the TTP.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from cryptography import x509

from asynctls.alerts import Alert
from asynctls.enrolment import est_codec
from asynctls.enrolment.connection import TTPConnection, Verdict, certificates_in
from asynctls.errors import (
    CertificateError,
    EnrolmentError,
    EnrolmentPendingError,
    EnrolmentRefusedError,
    RefusedByPeerError,
    TTPNotTrustedError,
    TTPUnreachableError,
)
from asynctls.pki.certificates import certificate_from_der, chained_to, check_issued_by, to_der
from asynctls.pki.malformed import MALFORMED
from asynctls.pki.profiles import CMC_RA
from asynctls.pki.requests import build_request
from asynctls.tls import contexts

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence
    from datetime import datetime

    from asynctls.config import Address
    from asynctls.enrolment.identity import Identity
    from asynctls.http import Response
    from asynctls.mac import Secret
    from asynctls.pki.keys import PrivateKey

__all__ = [
    "connect",
    "fetch_ca_certificates",
    "fetch_crl",
    "issuer_first",
    "only_ttp",
    "simple_enroll",
    "simple_reenroll",
]

_TRY_AGAIN = frozenset({408, 429})
_LEAST_WAIT_S, _MOST_WAIT_S, _USUAL_WAIT_S = 1, 3600, 60
_REQUEST_HEADERS = (
    ("Content-Type", est_codec.REQUEST_TYPE),
    ("Content-Transfer-Encoding", "base64"),
)


def only_ttp(certificate: bytes | None, alpn: str | None) -> Verdict:
    """Lets in whoever may act for the CA; chain, dates and host are OpenSSL's to verify."""
    del alpn
    if certificate is None:
        return Verdict(Alert.HANDSHAKE_FAILURE, "it showed no certificate")
    try:
        extensions = certificate_from_der(certificate).extensions
        uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (CertificateError, x509.ExtensionNotFound, *MALFORMED):
        uses = x509.ExtendedKeyUsage([])
    if CMC_RA not in uses:
        return Verdict(
            Alert.UNSUPPORTED_CERTIFICATE, "its certificate is not a TTP's (it has no id-kp-cmcRA)"
        )
    return Verdict()


def connect(address: Address, *, trust: str) -> TTPConnection:
    """A connection on which the TTP is verified; it opens when it is entered.

    Args:
        address: Where the TTP listens; its host must be in the TTP's certificate.
        trust: The root (and issuing CAs), PEM.
    """
    context = contexts.client_context(trust=trust)
    return TTPConnection(address, context, admit=only_ttp, server_hostname=address.host)


async def fetch_ca_certificates(
    ttp: TTPConnection,
    *,
    root: x509.Certificate,
    held: Sequence[x509.Certificate] = (),
    now: datetime,
) -> tuple[x509.Certificate, ...]:
    """GET /cacerts: the issuing CAs that the pinned root signed and that are valid now.

    Args:
        ttp: An open connection.
        root: The pinned root.
        held: The issuing CAs of the last answer, which are not sent again if it is the same.
        now: The time, aware and UTC.

    Raises:
        TTPUnreachableError: No answer, or not this one; trying again can help.
        TTPNotTrustedError: The answer holds no CA of this root.
    """
    tag = est_codec.ca_tag(map(to_der, (root, *held))) if held else None
    answer = await _get_unless_held(ttp, est_codec.CACERTS, tag)
    if answer is not None:
        _check(answer)
    try:
        # What is held is judged like what was sent: by now one of them may have ended.
        certificates = held if answer is None else certificates_in(answer)
        issuing = chained_to(root, certificates, now=now)
    except CertificateError as error:
        raise TTPNotTrustedError(f"the TTP's CA certificates cannot be used: {error}") from error
    if not issuing:
        raise TTPNotTrustedError("the TTP has no issuing CA that its root signed and that is valid")
    return issuing


def issuer_first(
    certificate: x509.Certificate, issuing: Sequence[x509.Certificate]
) -> tuple[x509.Certificate, ...]:
    """The issuing CAs, that of ``certificate`` first.

    Raises:
        TTPNotTrustedError: It was issued by none of them.
    """
    for candidate in issuing:
        try:
            check_issued_by(certificate, candidate)
        except CertificateError:
            continue
        return (candidate, *(each for each in issuing if each != candidate))
    raise TTPNotTrustedError(
        "the certificate that the TTP sent was issued by none of the CAs that its root signed"
    )


async def simple_enroll(
    ttp: TTPConnection, key: PrivateKey, *, token_id: str, secret: Secret
) -> x509.Certificate:
    """POST /simpleenroll: a certificate (as it came) for a key and a one-time token.

    Raises:
        EnrolmentRefusedError: The TTP said no, by which rule and why.
        EnrolmentPendingError: A person must approve it; the same key is to be asked for again.
        TTPUnreachableError: No answer, or 'not now'; trying again can help.
    """
    credential = base64.b64encode(b":".join((token_id.encode(), secret.reveal()))).decode()
    headers = (*_REQUEST_HEADERS, ("Authorization", f"Basic {credential}"))
    body = await _request(ttp, key)
    return _issued(await ttp.post(est_codec.SIMPLE_ENROLL, body, headers=headers))


async def simple_reenroll(identity: Identity, key: PrivateKey) -> x509.Certificate:
    """POST /simplereenroll over mutual TLS: a new certificate for a new key, by the current one.

    Raises:
        EnrolmentRefusedError: The TTP said no, by which rule and why.
        TTPUnreachableError: No answer, or 'not now'; trying again can help.
        TTPNotTrustedError: Whoever answers is not the TTP.
    """
    context = await asyncio.to_thread(_own_context, identity)
    connection = TTPConnection(
        identity.ttp, context, admit=only_ttp, server_hostname=identity.ttp.host
    )
    try:
        async with connection as ttp:
            body = await _request(ttp, key)
            answer = await ttp.post(est_codec.SIMPLE_REENROLL, body, headers=_REQUEST_HEADERS)
    except TTPUnreachableError as error:
        if isinstance(error.__cause__, RefusedByPeerError) and error.__cause__.alert is not None:
            words = error.__cause__.alert.words
            raise EnrolmentRefusedError(
                f"the TTP refused the current certificate ({words}): join again with a new token",
                status=403,
                rule=words,
            ) from error
        raise
    return _issued(answer)


def _own_context(identity: Identity) -> ssl.SSLContext:
    with identity.store.loadable() as (chain, key):
        return contexts.client_context(trust=identity.trust, chain=chain, key=key)


async def fetch_crl(ttp: TTPConnection, path: str, *, held: bytes | None) -> bytes | None:
    """GET a CRL (DER, as it came: nothing is verified); None where there is none.

    Args:
        ttp: An open connection.
        path: Where the CRL is.
        held: The last one from there, which is not sent again if nothing newer is.

    Raises:
        TTPUnreachableError: No answer, or not this one; trying again can help.
    """
    answer = await _get_unless_held(ttp, path, None if held is None else est_codec.crl_tag(held))
    if answer is None:
        return held
    if answer.status == 404:
        return None
    _check(answer)
    return answer.body


async def _get_unless_held(ttp: TTPConnection, path: str, tag: str | None) -> Response | None:
    """GETs ``path``; None where what is there has the tag of what is held (RFC 9110, 13.1.2)."""
    if tag is None:
        return await ttp.get(path)
    answer = await ttp.get(path, headers=(("If-None-Match", tag),))
    return None if answer.status == 304 else answer


async def _request(ttp: TTPConnection, key: PrivateKey) -> bytes:
    """A CSR for ``key`` as a body, good on this connection only (RFC 7030, section 3.5).

    So whoever gets hold of it, by whatever way, can post it nowhere else.
    """
    linked = None if ttp.tls_unique is None else est_codec.linked_to(ttp.tls_unique)
    return est_codec.encode(await asyncio.to_thread(build_request, key, challenge_password=linked))


def _issued(answer: Response) -> x509.Certificate:
    _check(answer)
    try:
        certificates = certificates_in(answer)
    except CertificateError as error:
        raise TTPUnreachableError(f"the TTP's answer cannot be read: {error}") from error
    if len(certificates) != 1:
        # RFC 7030, section 4.2.3: the certificate that was issued, and no other.
        raise TTPUnreachableError(f"the TTP sent {len(certificates)} certificates instead of one")
    return certificates[0]


def _check(answer: Response) -> None:
    if answer.status != 200:
        raise _refusal(answer)


def _refusal(answer: Response) -> EnrolmentError:
    text = answer.body[:1000].decode(errors="replace").strip()
    # It comes from the network and goes to a terminal.
    text = "".join(each if each.isprintable() else " " for each in text)
    if answer.status == 202:
        words = text.partition(": ")[2] or text or "it does not say why"
        return EnrolmentPendingError(words, retry_after_s=_wait_s(answer))
    if answer.status in _TRY_AGAIN or answer.status >= 500:
        return TTPUnreachableError(f"the TTP asks to try again ({answer.status}): {text}")
    rule, colon, reason = text.partition(": ")
    return EnrolmentRefusedError(
        f"the TTP refused: {reason if colon else text or 'no reason given'}",
        status=answer.status,
        rule=rule if colon else f"status {answer.status}",
    )


def _wait_s(answer: Response) -> int:
    """What Retry-After says, in seconds (RFC 9110, section 10.2.3), if it is a number of them."""
    said = answer.header("Retry-After") or ""
    seconds = int(said) if said.isascii() and said.isdigit() and len(said) < 10 else _USUAL_WAIT_S
    return min(max(seconds, _LEAST_WAIT_S), _MOST_WAIT_S)
