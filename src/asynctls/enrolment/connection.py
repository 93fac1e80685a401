"""One connection to the TTP: HTTP over TLS, with everything that can go wrong told in our words."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self

import msgspec

from asynctls.errors import (
    AsynctlsError,
    CertificateError,
    ClockError,
    EnrolmentError,
    HTTPError,
    PeerRefusedError,
    TruncatedError,
    TTPNotTrustedError,
    TTPUnreachableError,
)
from asynctls.http import FetchLimits, Request, Response, fetch
from asynctls.pki.certificates import certificate_from_der
from asynctls.tls.stream import Stream
from asynctls.tls.tcp import open_tcp

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from cryptography import x509

    from asynctls.alerts import Alert
    from asynctls.config import Address
    from asynctls.http.messages import Headers
    from asynctls.tls.sides import Admit

__all__ = [
    "Everyone",
    "TTPConnection",
    "Verdict",
    "certificate_reader",
    "certificates_in",
    "ready_to_read",
    "said_date",
]

_CONNECT_TIMEOUT_S = 10.0
_LARGEST_ANSWER = 16 * 1024 * 1024
_LIMITS = FetchLimits(body_bytes=_LARGEST_ANSWER, timeout_s=15.0)


class Verdict(msgspec.Struct, frozen=True):
    """On whoever answers at the TTP's address; no alert: go on."""

    alert: Alert | None = None
    reason: str = ""


class Everyone:
    """Lets everybody in: for the connection on which nothing is verified and nothing is told."""

    def __call__(self, certificate: bytes | None, alpn: str | None) -> Verdict:
        """No objection."""
        del certificate, alpn
        return Verdict()


class TTPConnection:
    """A connection to the TTP that opens when it is entered, and asks one thing at a time."""

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        *,
        admit: Admit,
        server_hostname: str | None,
    ) -> None:
        """Nothing is opened yet.

        Args:
            address: Where the TTP listens.
            context: What is verified, and which certificate is shown.
            admit: Judges the TTP's certificate before anything is sent.
            server_hostname: The host that its certificate must have; None: not checked.
        """
        self._address = address
        self._context = context
        self._admit = admit
        self._server_hostname = server_hostname
        self._stream: Stream | None = None

    async def __aenter__(self) -> Self:
        """Opens it.

        Raises:
            TTPUnreachableError: Nobody answers, or not in TLS; trying again can help.
            TTPNotTrustedError: Whoever answers is not the TTP.
            ClockError: Its certificate is not valid at this time.
        """
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                reader, writer = await open_tcp(self._address)
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            self._stream = await Stream.connect(
                reader,
                writer,
                self._context,
                server_hostname=self._server_hostname,
                admit=self._admit,
                timeout_s=_CONNECT_TIMEOUT_S,
            )
        except (AsynctlsError, OSError) as error:
            raise self._explained(error) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stream is None:
            return
        if error is None:
            await self._stream.close()
        else:
            self._stream.abort()

    @property
    def tls_unique(self) -> bytes | None:
        """What this connection alone has (RFC 5929, section 3); None before it is open."""
        return None if self._stream is None else self._stream.tls_unique

    async def get(self, path: str, *, headers: Headers = ()) -> Response:
        """GETs ``path``.

        Raises:
            TTPUnreachableError: No answer, or one that is no HTTP; trying again can help.
        """
        return await self._fetch(Request("GET", path, (*self._headers(), *headers)))

    async def post(self, path: str, body: bytes, *, headers: Headers) -> Response:
        """POSTs ``body`` to ``path``.

        Raises:
            TTPUnreachableError: No answer, or one that is no HTTP; trying again can help.
        """
        return await self._fetch(Request("POST", path, (*self._headers(), *headers), body))

    def _headers(self) -> Headers:
        return (("Host", str(self._address)),)

    async def _fetch(self, request: Request) -> Response:
        if self._stream is None:
            raise RuntimeError("the connection has not been entered")
        try:
            return await fetch(self._stream, request, limits=_LIMITS)
        except (HTTPError, TruncatedError, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> TTPUnreachableError:
        words = str(error)
        if isinstance(error, TimeoutError) and not words:
            words = f"no answer within {_CONNECT_TIMEOUT_S:g} seconds"
        elif isinstance(error, OSError) and error.strerror:
            words = error.strerror
        return TTPUnreachableError(f"the TTP at {self._address} cannot be reached: {words}")

    def _explained(self, error: Exception) -> EnrolmentError:
        match error:
            case PeerRefusedError(certificate=bytes() as shown) if _is_out_of_date(shown):
                return ClockError(f"the TTP at {self._address}: {error.reason}")
            case PeerRefusedError():
                return TTPNotTrustedError(
                    f"whoever answers at {self._address} is not the TTP that is trusted here: "
                    f"{error.reason}"
                )
        # An alert from the other side is among the rest: it is not authenticated, so nothing is
        # given up because of it.
        return self._unreachable(error)


def _is_out_of_date(der: bytes) -> bool:
    try:
        certificate = certificate_from_der(der)
    except CertificateError:
        return False
    now = datetime.now(UTC)
    return not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def certificate_reader() -> Callable[[bytes], tuple[x509.Certificate, ...]]:
    """What reads a certs-only body; blocks, since it imports PKCS#7 and with it `email`.

    A client that holds its TTP's CAs already is not sent any, and does not wait for that.
    """
    from asynctls.enrolment.est_certificates import decode_certificates  # noqa: PLC0415

    return decode_certificates


async def ready_to_read() -> bool:
    """Imports what reads certificates; False: it cannot now, and whoever has to read says why."""
    reader = asyncio.to_thread(certificate_reader)
    (imported,) = await asyncio.gather(reader, return_exceptions=True)
    return callable(imported)


def certificates_in(answer: Response) -> tuple[x509.Certificate, ...]:
    """The certificates of an answer that has nothing else, in its order; nothing is verified.

    Raises:
        CertificateError: It is no such answer.
    """
    return certificate_reader()(answer.body)


def said_date(answer: Response) -> datetime | None:
    """What time the other side says it is (RFC 9110, section 6.6.1); None if it does not say."""
    try:
        date = parsedate_to_datetime(answer.header("Date") or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
