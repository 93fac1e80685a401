"""What `cryptography` raises where a certificate, a request or a CRL of anybody's is malformed.

It parses lazily: any access can be the one that finds the flaw, so that whoever reads what comes
from the network wraps all of its accesses in one ``except MALFORMED``.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning

__all__ = ["MALFORMED"]

MALFORMED: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    # x400Address and ediPartyName (RFC 5280, section 4.2.1.6), wherever a name can stand.
    x509.UnsupportedGeneralNameType,
    # Where warnings are errors: for a serial number that is not positive (RFC 5280, 4.1.2.2).
    CryptographyDeprecationWarning,
)
