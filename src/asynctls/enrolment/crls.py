"""The CRLs that a role holds: fetched, verified once, kept as PEM beside its identity.

One for each issuing CA that is trusted and the root's, since other programs check the whole chain.
Nothing is believed because of the connection that it came over: each list's signature counts.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from asynctls.enrolment import est_client, est_codec
from asynctls.enrolment.texts import CRL
from asynctls.errors import CertificateError, TTPNotTrustedError
from asynctls.logger import get_logger
from asynctls.pki.profiles import key_id_of, key_id_text
from asynctls.pki.status import Replacement, RevocationList, may_replace, read_crl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509

    from asynctls.enrolment.connection import TTPConnection
    from asynctls.enrolment.identity import Identity

__all__ = ["fetch", "from_pem", "newest", "on_disk", "revoke_the_same", "to_pem"]

log = get_logger()

_BEGIN, _END = "-----BEGIN X509 CRL-----", "-----END X509 CRL-----"


async def fetch(
    ttp: TTPConnection,
    *,
    root: x509.Certificate,
    issuing: Iterable[x509.Certificate],
    held: Iterable[RevocationList] = (),
) -> tuple[RevocationList, ...]:
    """GETs the CRL of each issuing CA and the root's, and verifies those that are not held.

    One that is held is not sent again (RFC 9110, section 13.1.2).

    A list that the TTP does not have is left out: a CA that does not issue yet may have none, and a
    root whose key is elsewhere.

    Args:
        ttp: An open connection.
        root: Must have signed the root's list.
        issuing: Each must have signed its own.
        held: Lists that were verified before: one that comes again is that one.

    Raises:
        TTPUnreachableError: No answer, or not this one; trying again can help.
        TTPNotTrustedError: A list is not of the CA that it was asked for.
    """
    asked = [(est_codec.crl_path(key_id_text(each)), each) for each in issuing]
    known = {(each.issuer, each.authority_key_id): each for each in held}
    found: list[tuple[bytes, x509.Certificate, RevocationList | None]] = []
    for path, authority in (*asked, (est_codec.ROOT_CRL, root)):
        last = known.get((authority.subject.public_bytes(), key_id_of(authority).digest))
        der = await est_client.fetch_crl(ttp, path, held=None if last is None else last.der)
        if der is not None:
            found.append((der, authority, last))

    def read(
        der: bytes, authority: x509.Certificate, last: RevocationList | None
    ) -> RevocationList:
        return last if last is not None and last.der == der else read_crl(der, authority)

    try:
        return await asyncio.to_thread(lambda: tuple(read(*each) for each in found))
    except CertificateError as error:
        raise TTPNotTrustedError(f"the TTP's CRL cannot be used: {error}") from error


def on_disk(identity: Identity) -> tuple[RevocationList, ...]:
    """The lists that are kept with an identity, verified anew; blocks.

    Raises:
        CertificateError: They cannot be read, or one cannot be used.
    """
    try:
        text = identity.store.crl()
    except OSError as error:
        raise CertificateError(
            f"{identity.store.place(CRL)} cannot be read: {error.strerror or error}"
        ) from error
    return from_pem(text, identity.authorities)


def from_pem(text: str, authorities: Sequence[x509.Certificate]) -> tuple[RevocationList, ...]:
    """The lists of a ``crl.pem``, verified anew; blocks.

    Raises:
        CertificateError: One is malformed, or of none of the authorities; or there is text, and
            none in it.
    """
    # Not by a regular expression, which holds every thread up until it has read all of the text.
    before, *blocks = text.split(_BEGIN)
    bodies = [block.split(_END) for block in blocks]
    if _END in before or (before.strip() and not bodies) or any(len(each) != 2 for each in bodies):
        raise CertificateError("the CRLs are damaged")
    try:
        ders = [b64decode("".join(body.split()), validate=True) for body, _ in bodies]
    except ValueError as error:
        raise CertificateError("the CRLs are damaged") from error
    return tuple(_verified(der, authorities) for der in ders)


def to_pem(lists: Iterable[RevocationList]) -> str:
    """The lists one after the other (RFC 7468, section 6)."""
    return "".join(
        f"-----BEGIN X509 CRL-----\n{_folded(each.der)}\n-----END X509 CRL-----\n" for each in lists
    )


def newest(
    held: Iterable[RevocationList],
    others: Iterable[RevocationList],
    *,
    authorities: Iterable[x509.Certificate],
) -> tuple[RevocationList, ...]:
    """Of each CA the list that counts, in the order in which they first came.

    Lists of CAs that are trusted no longer are left out: nobody renews them, and they would end.
    """
    lists = {(each.issuer, each.authority_key_id): each for each in held}
    for each in others:
        key = (each.issuer, each.authority_key_id)
        if key not in lists or _is_taken(lists[key], each):
            lists[key] = each
    trusted = {(each.subject.public_bytes(), key_id_of(each).digest) for each in authorities}
    return tuple(each for key, each in lists.items() if key in trusted)


def revoke_the_same(some: Iterable[RevocationList], others: Iterable[RevocationList]) -> bool:
    """Whether these lists revoke what those do, whatever else they say."""
    ours, theirs = (
        {(each.issuer, each.authority_key_id): each.serials for each in lists if each.serials}
        for lists in (some, others)
    )
    # One that is held still is not gone through: it is the same object.
    return ours == theirs


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


def _folded(der: bytes) -> str:
    text = b64encode(der).decode()
    return "\n".join(text[start : start + 64] for start in range(0, len(text), 64))


def _verified(der: bytes, authorities: Sequence[x509.Certificate]) -> RevocationList:
    failure = CertificateError("there is no CA whose CRL it could be")
    for authority in authorities:
        try:
            return read_crl(der, authority)
        except CertificateError as error:
            failure = error
    raise failure
