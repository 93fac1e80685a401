"""An identity's files (`enrolment.identity`, `pki.keys`): an identity that holds, or why not."""

from __future__ import annotations

from typing import Final

from asynctls.enrolment import Identity
from asynctls.errors import CertificateError, IdentityError
from asynctls.pki.certificates import to_pem
from asynctls.pki.keys import key_from_pem, key_to_pem
from tests.fuzz.world import HOLDER_KEY, ISSUING, ROOT, leaf

_KEY: Final = key_to_pem(HOLDER_KEY)
_CERTIFICATE: Final = to_pem(leaf("server"), ISSUING.certificate).encode()
_TRUST: Final = to_pem(ROOT.certificate, ISSUING.certificate).encode()


def run(data: bytes) -> bool:
    """A file, taken for each of an identity's in turn."""
    taken = [
        _taken(key=data, certificate=_CERTIFICATE, trust=_TRUST),
        _taken(key=_KEY, certificate=data, trust=_TRUST),
        _taken(key=_KEY, certificate=_CERTIFICATE, trust=data),
    ]
    if b"ENCRYPTED" not in data:
        try:
            key = key_from_pem(data)
        except CertificateError as error:
            assert str(error).isprintable()
        else:
            assert key_from_pem(key_to_pem(key)).public_key() == key.public_key()
    return any(taken)


def _taken(*, key: bytes, certificate: bytes, trust: bytes) -> bool:
    if b"ENCRYPTED" in key:
        # How long its passphrase is to be stretched is for its owner to say, to minutes.
        return False
    try:
        identity = Identity.from_pem(key=key, certificate=certificate, trust=trust)
    except IdentityError as error:
        assert str(error)
        return False
    assert identity.root in (ROOT.certificate, *identity.issuing) or trust != _TRUST
    return True


def seeds() -> dict[str, bytes]:
    """Each file; a key and a certificate of others."""
    return {
        "certificate": _CERTIFICATE,
        "trust": _TRUST,
        "no-root": to_pem(ISSUING.certificate).encode(),
        "root": to_pem(ROOT.certificate).encode(),
        "no-pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }
