"""All that can go wrong, as one tree; each message says what happened, to whom, and what to do.

::

    AsynctlsError
    ├── ConfigError               the command line or a config file is wrong (every fault at once)
    ├── ReloadError               a reload found faults, and changed nothing (every fault at once)
    ├── StateError                a state folder cannot be used
    │   ├── StateLockedError      another daemon holds it
    │   └── LedgerError           the ledger cannot be read or written
    │       ├── LedgerBrokenError its HMAC chain does not hold
    │       └── LedgerAwayError   its database cannot be reached, or says nothing
    ├── RequestError              a CSR or OCSP request that cannot be accepted, whoever sent it
    ├── CertificateError          a certificate, key or CRL that cannot be used
    ├── EnrolmentError            an identity could not be had
    │   ├── JoinStringError       the join string is not one
    │   ├── TTPUnreachableError   no answer; trying again can help
    │   ├── TTPNotTrustedError    the answer is not from the TTP that the join string names
    │   ├── EnrolmentRefusedError the TTP said no, and why
    │   ├── EnrolmentPendingError the TTP lets the request wait for a person
    │   ├── ClockError            this machine's clock and the TTP's disagree
    │   └── IdentityError         no identity on disk, or one that cannot be used
    ├── ServerUnreachableError    nobody answers where a server should be
    ├── InputError                standard input cannot be read, or a line of it not be sent
    ├── DemoError                 a role of the demo, or of an account, did not do its part
    ├── ProbeError                a server could not be probed: it serves no honest client
    ├── WorkerError               a worker process, or its supervisor, did not do its part
    │   └── WorkerStartError      a worker ended before it served, and said why
    ├── HTTPError                 the other side does not keep to HTTP, or to our limits
    ├── HandshakeError            no TLS connection came about
    │   ├── PeerRefusedError      we refused the peer, and told it by an alert
    │   ├── RefusedByPeerError    the peer refused us by an alert
    │   └── HandshakeTimeoutError the peer took too long
    ├── TruncatedError            the connection ended without the end being said
    └── SessionError              the HMAC session ended, and by what
        ├── MalformedError        a frame that is not of the protocol's one shape
        ├── ForgedError           a tag that the key did not make
        ├── BindingMismatchError  the two ends do not see the same connection
        ├── ReplayedError         a frame that was received before
        ├── MissingError          frames that never arrived
        ├── MessageTooLargeError  a message larger than the receiver takes
        ├── SessionTimeoutError   the peer took too long
        ├── SessionTruncatedError the direction ended without CLOSE
        ├── SessionRefusedError   the peer ended the session with an ERROR
        └── SessionClosedError    used after its end
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from asynctls.alerts import Alert

__all__ = [
    "AsynctlsError",
    "BindingMismatchError",
    "CertificateError",
    "ClockError",
    "ConfigError",
    "DemoError",
    "EnrolmentError",
    "EnrolmentPendingError",
    "EnrolmentRefusedError",
    "ErrorCode",
    "Fault",
    "ForgedError",
    "HTTPError",
    "HandshakeError",
    "HandshakeTimeoutError",
    "IdentityError",
    "InputError",
    "JoinStringError",
    "LedgerAwayError",
    "LedgerBrokenError",
    "LedgerError",
    "MalformedError",
    "MessageTooLargeError",
    "MissingError",
    "PeerRefusedError",
    "ProbeError",
    "RefusedByPeerError",
    "ReloadError",
    "ReplayedError",
    "RequestError",
    "ServerUnreachableError",
    "SessionClosedError",
    "SessionError",
    "SessionRefusedError",
    "SessionTimeoutError",
    "SessionTruncatedError",
    "StateError",
    "StateLockedError",
    "TTPNotTrustedError",
    "TTPUnreachableError",
    "TruncatedError",
    "WorkerError",
    "WorkerStartError",
]


class ErrorCode(IntEnum):
    """What an ERROR frame of the session protocol says (docs/session-protocol.md)."""

    MALFORMED = 1
    FORGED = 2
    REPLAYED = 3
    MISSING = 4
    TOO_LARGE = 5
    NOT_ALLOWED = 6
    CERTIFICATE_EXPIRED = 7
    CERTIFICATE_REVOKED = 8
    CRL_NOT_CURRENT = 9
    INTERNAL = 10
    TIME_OUT = 11


class AsynctlsError(Exception):
    """Base of all that this package raises on purpose; ``str()`` is one line for a person."""


class Fault(NamedTuple):
    """One thing wrong with a setting: its key (``server.listen``), where it was set, and what."""

    key: str
    source: str
    problem: str

    def within(self, place: str) -> Fault:
        """The same of a part of its table: ``server.tunnel[2].allow``."""
        table, _, name = self.key.partition(".")
        return Fault(f"{table}.{place}.{name}", self.source, self.problem)

    def __str__(self) -> str:
        return f"{self.key} ({self.source}): {self.problem}"


class ConfigError(AsynctlsError):
    """The command line, the environment or a file is wrong; ``faults`` has every fault found."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))


class ReloadError(AsynctlsError):
    """What a reload read cannot be used, and nothing has changed; ``faults`` has all, in words."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class StateError(AsynctlsError):
    """A state folder, or a file in it, cannot be used."""


class StateLockedError(StateError):
    """Another daemon holds the state folder."""


class LedgerError(StateError):
    """The ledger cannot be read or written."""


class LedgerBrokenError(LedgerError):
    """The ledger's HMAC chain does not hold; ``sequence`` is the first bad row's."""

    def __init__(self, message: str, *, sequence: int) -> None:
        self.sequence = sequence
        super().__init__(message)


class LedgerAwayError(LedgerError):
    """The ledger's database cannot be reached, or does not answer; trying again can help."""


class RequestError(AsynctlsError):
    """A CSR (RFC 2986) that is malformed, unproven, or asks for what no profile gives.

    Or an OCSP request (RFC 6960) that is malformed or of a kind that is not answered.
    """


class CertificateError(AsynctlsError):
    """A certificate, key or CRL that cannot be used: malformed, badly signed, or another's."""


class EnrolmentError(AsynctlsError):
    """An identity could not be had from the TTP, or is not usable."""


class JoinStringError(EnrolmentError):
    """The text is not a join string; the message never quotes it, for it may hold a secret."""


class TTPUnreachableError(EnrolmentError):
    """The TTP did not answer, or not sensibly; trying again can help."""


class TTPNotTrustedError(EnrolmentError):
    """Whoever answered is not the TTP that the join string or identity names. Never retried."""


class EnrolmentRefusedError(EnrolmentError):
    """The TTP refused; ``status`` is the HTTP status, ``rule`` names the rule that said no.

    ``retry_after_s``: the whole seconds after which it may be otherwise; None: not by waiting.
    """

    def __init__(
        self, message: str, *, status: int, rule: str, retry_after_s: int | None = None
    ) -> None:
        self.status = status
        self.rule = rule
        self.retry_after_s = retry_after_s
        super().__init__(message)


class EnrolmentPendingError(EnrolmentError):
    """A person must approve the request first; ask again after ``retry_after_s`` seconds."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ClockError(EnrolmentError):
    """This machine's clock disagrees with the TTP's; the message says by how much."""


class IdentityError(EnrolmentError):
    """There is no identity in the state folder, or the one there cannot be used."""


class ServerUnreachableError(AsynctlsError):
    """Nobody answers where a server should be."""


class InputError(AsynctlsError):
    """Standard input cannot be read, or a line of it cannot be sent to anybody."""


class DemoError(AsynctlsError):
    """A role of the demo, or of an account of costs, did not do its part."""


class ProbeError(AsynctlsError):
    """A server could not be probed: it serves no honest client."""


class WorkerError(AsynctlsError):
    """A worker process did not do its part, or a supervisor did not."""


class WorkerStartError(WorkerError):
    """A worker ended before it served; it has said why, on the standard error that is ours too.

    Attributes:
        code: Its exit code.
    """

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class HTTPError(AsynctlsError):
    """The other side broke HTTP/1.1 (RFC 9112) or a limit of ours; ``status`` is the answer due."""

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class HandshakeError(AsynctlsError):
    """No TLS connection came about."""


class PeerRefusedError(HandshakeError):
    """We refused the peer; ``alert`` is what it was told, ``reason`` is for our log.

    ``certificate`` is the certificate that it showed (DER) or None. ``told`` is false where the
    peer resumed a session, so that our last flight had left before it could be refused.
    """

    def __init__(
        self, alert: Alert, reason: str, *, certificate: bytes | None = None, told: bool = True
    ) -> None:
        self.alert = alert
        self.reason = reason
        self.certificate = certificate
        self.told = told
        sent = f"alert {alert.value}, {alert.words}" if told else "no alert could be sent"
        super().__init__(f"{reason} ({sent})")


class RefusedByPeerError(HandshakeError):
    """The peer ended the handshake with a fatal alert.

    An alert is not authenticated: believe it for the message to a person, never for an action.
    ``alert`` is None for a number that no RFC names; ``certificate`` is what the peer showed (DER).
    """

    def __init__(
        self, message: str, *, alert: Alert | None, certificate: bytes | None = None
    ) -> None:
        self.alert = alert
        self.certificate = certificate
        super().__init__(message)


class HandshakeTimeoutError(HandshakeError):
    """The peer did not finish the handshake in time."""


class TruncatedError(AsynctlsError):
    """The connection ended without a close_notify: what arrived may not be all that was sent.

    ``alert`` is the one by which the peer ended it, if it did and an RFC names it.
    """

    def __init__(self, message: str, *, alert: Alert | None = None) -> None:
        self.alert = alert
        super().__init__(message)


class SessionError(AsynctlsError):
    """The HMAC session ended; ``code`` is what an ERROR frame says of it, if one is sent."""

    code: ClassVar[ErrorCode | None] = None


class MalformedError(SessionError):
    """A frame that is not of the one shape, or that may not stand where it stands."""

    code = ErrorCode.MALFORMED


class ForgedError(SessionError):
    """A frame whose tag the session's key did not make."""

    code = ErrorCode.FORGED


class BindingMismatchError(SessionError):
    """The two ends disagree on certificates or connection: somebody may stand in between."""


class ReplayedError(SessionError):
    """A genuine frame that was received before."""

    code = ErrorCode.REPLAYED


class MissingError(SessionError):
    """A genuine frame from further on: those before it never arrived."""

    code = ErrorCode.MISSING


class MessageTooLargeError(SessionError):
    """A message larger than its receiver takes."""

    code = ErrorCode.TOO_LARGE


class SessionTimeoutError(SessionError):
    """The peer did not answer in time."""

    code = ErrorCode.TIME_OUT


class SessionTruncatedError(SessionError):
    """The connection ended before the peer's CLOSE: what arrived may not be all that was sent."""


class SessionRefusedError(SessionError):
    """The peer ended the session by an ERROR frame; ``error_code`` and the text are the peer's."""

    def __init__(self, message: str, *, error_code: int) -> None:
        self.error_code = error_code
        super().__init__(message)


class SessionClosedError(SessionError):
    """The session was used after its end; ``told`` is what the peer was told, if we ended it."""

    def __init__(self, message: str, *, told: ErrorCode | None = None) -> None:
        self.told = told
        super().__init__(message)
