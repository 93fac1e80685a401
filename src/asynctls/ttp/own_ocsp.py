"""The certificate with which the TTP answers by OCSP for one issuing CA, renewed by itself.

Files in the state folder, for each issuing CA: ``ocsp-<key id>.key`` and ``ocsp-<key id>.pem``. The
CA's own key is thus not what an unlimited number of strangers' questions makes signatures with
(RFC 6960, section 2.6).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from asynctls import state
from asynctls.errors import CertificateError, StateError
from asynctls.pki.certificates import certificates_from_pem, to_pem
from asynctls.pki.keys import generate_now
from asynctls.pki.ocsp import Responder
from asynctls.pki.profiles import Profile, key_id_text, make_responder
from asynctls.ttp import own

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from asynctls.pki.profiles import Issuer
    from asynctls.ttp.keyfiles import KeyFiles
    from asynctls.ttp.transactions import Transaction

__all__ = ["LIFETIME", "is_due", "make"]

LIFETIME = timedelta(days=7)
"""Of a responder's certificate, which nobody can revoke: who has its key has it for that long."""


def make(transaction: Transaction, issuer: Issuer, keys: KeyFiles, *, now: datetime) -> Responder:
    """The responder for an issuing CA: the one on disk while it is good, else a new one.

    Raises:
        CertificateError: the issuing CA has ended.
        StateError: a file cannot be written.
    """
    key_id = key_id_text(issuer.certificate)
    name = f"ocsp-{key_id}"
    found = _found(keys, name, issuer.certificate)
    if found is None or is_due(found, issuer.certificate, now):
        key = generate_now(own.key_type_under(issuer.certificate))
        certificate = make_responder(key.public_key(), issuer=issuer, lifetime=LIFETIME, now=now)
        keys.write(name, key)
        state.write_atomically(keys.folder / f"{name}.pem", to_pem(certificate).encode())
        found = Responder(issuer.certificate, certificate, key)
    own.record(transaction, found.certificate, name, Profile.OCSP, issuer=key_id, now=now)
    return found


def is_due(responder: Responder, issuer: x509.Certificate, now: datetime) -> bool:
    """Whether two thirds of its lifetime are over and a new one could last longer, or the CA's
    certificate is another one by now.
    """
    if responder.issuer != issuer:
        return True
    return own.is_due(responder.certificate, issuer, now)


def _found(keys: KeyFiles, name: str, issuer: x509.Certificate) -> Responder | None:
    """What is on disk, if it is whole and this CA's; else it is replaced."""
    try:
        key = keys.read(name)
        certificates = certificates_from_pem((keys.folder / f"{name}.pem").read_bytes())
        return None if key is None else Responder(issuer, certificates[0], key)
    except (OSError, CertificateError, StateError):
        return None
