"""What the TTP shows in TLS: a leaf of its own issuing CA, renewed by itself.

Files in the state folder: ``ttp.key``, and ``ttp.pem`` (leaf, then issuing CA).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls import state
from asynctls.errors import CertificateError, StateError
from asynctls.pki.certificates import certificates_from_pem, check_issued_by, to_pem
from asynctls.pki.keys import generate_now
from asynctls.pki.names import sans_of
from asynctls.pki.profiles import Profile, issue, key_id_text
from asynctls.ttp import own

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from asynctls.ttp.ca import CertificateAuthority
    from asynctls.ttp.keyfiles import KeyFiles
    from asynctls.ttp.transactions import Transaction

__all__ = ["TLS_LIFETIME", "is_due", "make"]

TLS_LIFETIME = timedelta(days=30)
"""Of the TTP's own TLS certificate; it is renewed at two thirds of it by itself."""

_NAME = "ttp"


def make(
    transaction: Transaction,
    authority: CertificateAuthority,
    keys: KeyFiles,
    *,
    names: tuple[str, ...],
    now: datetime,
) -> x509.Certificate:
    """The TTP's TLS certificate: the one on disk while it is good, else a new one with a new key.

    Raises:
        StateError: a file cannot be written.
    """
    found = _found(keys, authority, names)
    issuer = authority.issuing
    if found is None or is_due(found, authority, now):
        key = generate_now(own.key_type_under(issuer.certificate))
        found = issue(
            Profile.TTP,
            issuer=issuer,
            public_key=key.public_key(),
            sans=names,
            lifetime=TLS_LIFETIME,
            now=now,
        )
        keys.write(_NAME, key)
        pem = to_pem(found, issuer.certificate)
        state.write_atomically(keys.folder / "ttp.pem", pem.encode())
    key_id = key_id_text(issuer.certificate)
    own.record(transaction, found, _NAME, Profile.TTP, issuer=key_id, now=now)
    return found


def is_due(certificate: x509.Certificate, authority: CertificateAuthority, now: datetime) -> bool:
    """Whether two thirds of its lifetime are over, and a new one could last longer.

    Also as soon as another CA issues: then all that is shown is of one CA again.
    """
    issuer = authority.issuing.certificate
    if certificate.issuer != issuer.subject:
        return True
    return own.is_due(certificate, issuer, now)


def _found(
    keys: KeyFiles, authority: CertificateAuthority, names: tuple[str, ...]
) -> x509.Certificate | None:
    """What is on disk, if it is whole, of this CA, and for these names; else it is replaced."""
    try:
        key = keys.read(_NAME)
        chain = certificates_from_pem((keys.folder / "ttp.pem").read_bytes())
        found = chain[0]
        check_issued_by(found, authority.issuing.certificate)
        good = (
            chain[1:] == (authority.issuing.certificate,)
            and key is not None
            and found.public_key() == key.public_key()
            and set(sans_of(found)) == set(names)
        )
    except (OSError, CertificateError, StateError):
        return None
    return found if good else None
