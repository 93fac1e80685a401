"""The names of TLS alerts (RFC 5246, section 7.2), which errors carry and every floor speaks of."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Alert"]


class Alert(IntEnum):
    """TLS alert descriptions (RFC 5246, section 7.2; RFC 6066, section 9; RFC 7301, 3.2)."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    INAPPROPRIATE_FALLBACK = 86
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    UNSUPPORTED_EXTENSION = 110
    UNRECOGNIZED_NAME = 112
    NO_APPLICATION_PROTOCOL = 120

    @property
    def words(self) -> str:
        """The alert's name as RFC 5246 writes it, with spaces: ``certificate expired``."""
        return self.name.lower().replace("_", " ").replace("unknown ca", "unknown CA")
