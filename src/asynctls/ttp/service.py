"""The TTP as a daemon: listens, runs TLS, and hands each request to EST.

Client certificates are taken but not demanded, and TLS lets everybody in whose handshake OpenSSL
accepts: who may have what is decided request by request. The TTP's own certificate is renewed by
the authority while the daemon runs; the context follows it.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynctls.admission import Peer
from asynctls.alerts import Alert
from asynctls.enrolment.connection import Verdict
from asynctls.enrolment.credentials import Credentials, FreshCredentials
from asynctls.errors import CertificateError, HandshakeError
from asynctls.http.server import Limits, serve
from asynctls.logger import get_logger
from asynctls.pki.certificates import certificates_from_pem, to_der, to_pem
from asynctls.pki.ocsp import MAX_REQUEST_BYTES
from asynctls.runtime import (
    Connections,
    Listener,
    Reload,
    Signals,
    listen,
    serve_until_stopped,
)
from asynctls.runtime.places import Places
from asynctls.runtime.plain_http import serve_plain_http
from asynctls.runtime.refusals import log_refusal
from asynctls.state import hold_state_folder
from asynctls.tls import Gate, Stream, address_of, server_context, try_out
from asynctls.ttp.authority import Authority
from asynctls.ttp.est import EST, Asker
from asynctls.ttp.policy import Policy
from asynctls.ttp.public_address import public_address, write_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asynctls.config import Address, TTPConfig
    from asynctls.http import Request, Response
    from asynctls.runtime import Take

__all__ = ["Service", "run"]

log = get_logger()

_ALPN = ("http/1.1",)
# Shorter than our roles wait, so that they hear of a ledger that is slow.
_LIMITS = Limits(handler_timeout_s=12.0)
# Anybody may come, without so much as a TLS handshake, and asks in one packet.
_STATUS_LIMITS = Limits(body_bytes=MAX_REQUEST_BYTES, header_timeout_s=5.0, idle_timeout_s=10.0)
_STATUS_CONNECTIONS = 256
_AFTER_FAILURE_S = 5.0


async def run(config: TTPConfig, load: Callable[[], TTPConfig]) -> None:
    """Runs the TTP until it is told to stop (SIGTERM, SIGINT); SIGHUP reloads.

    Args:
        config: its settings.
        load: reads them again, for a reload; blocks.

    Raises:
        ConfigError: It cannot listen there, or nobody could be told where it is.
        StateError: The state folder cannot be used, or another daemon holds it.
    """
    async with hold_state_folder(config.state), await Authority.open(config) as authority:
        service = Service(authority, config)
        reload = Reload(config, load)
        async with (
            Signals(on_reload=reload.run) as signals,
            service.serving(signals.stopping) as (listener, connections),
        ):
            reload.started(service.changing)
            await serve_until_stopped(
                signals, listener, connections, drain=lambda: reload.config.drain
            )


class Service:
    """One authority behind one listener."""

    def __init__(self, authority: Authority, config: TTPConfig, *, est: EST | None = None) -> None:
        """Serves nothing yet.

        Args:
            authority: whose certificates and CRLs they are.
            config: its settings.
            est: answers the requests; None: an `EST` of the authority.
        """
        self._authority = authority
        self._config = config
        self._est = est or EST(authority)
        self._gate = Gate(config.handshakes)
        self._places = Places(
            config.max_connections, per_address=config.max_connections_per_address
        )
        self._credentials = FreshCredentials(self._build)
        self._shown = authority.tls_certificate
        self._trusted = authority.ca_certificates

    @asynccontextmanager
    async def serving(self, stopping: asyncio.Event) -> AsyncIterator[tuple[Listener, Connections]]:
        """Listens, and looks after CRL and certificate, while the context lasts.

        Args:
            stopping: Once set, connections end after the answer that is under way.

        Raises:
            ConfigError: It cannot listen there, or nobody could be told where it is.
            CertificateError: The TTP's own certificate cannot be used.
        """

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._handle(reader, writer, stopping)

        await self._credentials.get()
        upkeep = asyncio.create_task(self._look_after())
        try:
            async with (
                self._measured(),
                self._serving_status(),
                Connections(observer=self._authority.observer) as connections,
                listen(
                    self._config.listen,
                    connections.served_by(handle, places=self._places),
                    role="ttp",
                    prepare=self._write_public_address,
                ) as listener,
            ):
                yield listener, connections
        finally:
            upkeep.cancel()
            await asyncio.gather(upkeep, return_exceptions=True)

    @asynccontextmanager
    async def _measured(self) -> AsyncIterator[None]:
        if self._config.metrics_listen is None:
            yield
            return
        # Only a daemon with metrics pays for importing what makes them.
        from asynctls.ttp.metrics import TTPMetrics  # noqa: PLC0415

        metrics = TTPMetrics(self._authority)
        self._authority.observe(metrics)
        async with metrics.serving(self._config.metrics_listen):
            yield

    @asynccontextmanager
    async def _serving_status(self) -> AsyncIterator[None]:
        """The listener for plain HTTP, if there is to be one."""
        address = self._config.status_listen
        if address is None:
            yield
            return
        async with serve_plain_http(
            address,
            self._est.public.answer,
            role="ttp",
            setting="status_listen",
            event="status served",
            limits=_STATUS_LIMITS,
            places=Places(_STATUS_CONNECTIONS),
            observer=self._authority.observer,
        ):
            yield

    @asynccontextmanager
    async def changing(self, config: TTPConfig) -> AsyncIterator[Take]:
        """Makes what another config wants, and takes the TTP's own certificate as it is on disk.

        Returns:
            What puts both into use, while the context lasts.

        Raises:
            ConfigError: A name rule is none.
            CertificateError: The certificate on disk cannot be used.
        """
        policy = Policy.of(config)
        # Before it is read: what is renewed meanwhile is taken at the next connection.
        shown, trusted = self._authority.tls_certificate, self._authority.ca_certificates
        try:
            credentials = await asyncio.to_thread(self._build)
        except OSError as error:
            raise CertificateError(
                f"{self._authority.tls_chain} cannot be read: {error.strerror or error}"
            ) from error

        def take() -> None:
            if config.handshakes != self._config.handshakes:
                self._gate = Gate(config.handshakes)
            self._places.change(
                config.max_connections, per_address=config.max_connections_per_address, sockets=1
            )
            self._authority.take(config, policy)
            self._credentials.take(credentials)
            self._shown, self._trusted = shown, trusted
            self._config = config

        yield take

    async def _look_after(self) -> None:
        while True:
            try:
                await self._authority.maintain()
            except Exception:
                # The border of this task: a TTP whose CRL is silently no longer signed would shut
                # every role out a day later.
                log.exception("upkeep failed")
            await asyncio.sleep(_AFTER_FAILURE_S)

    async def _write_public_address(self, listening_on: Address) -> None:
        address = public_address(self._config, port=listening_on.port)
        await asyncio.to_thread(write_address, self._config.state, address)

    async def _handle(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        stopping: asyncio.Event,
    ) -> None:
        authority = self._authority
        if (authority.tls_certificate, authority.ca_certificates) != (self._shown, self._trusted):
            self._shown, self._trusted = authority.tls_certificate, authority.ca_certificates
            self._credentials.retire()
        credentials = await self._credentials.get()
        try:
            stream = await Stream.accept(
                reader,
                writer,
                credentials.context,
                admit=self._admit,
                gate=self._gate,
                timeout_s=self._config.handshake_timeout.total_seconds(),
            )
        except HandshakeError as error:
            log_refusal(address_of(writer), error)
            self._authority.observer.handshake_failed(error)
            return
        self._authority.observer.handshake_done()
        # Without the extended master secret a middleman can have one tls-unique on two connections
        # (RFC 7627, section 1), so nothing is linked by it.
        tls_unique = stream.tls_unique if stream.extended_master_secret else None
        asker = Asker(stream.peer_address, stream.peer_certificate, tls_unique)

        async def answer(request: Request) -> Response:
            return await self._est.answer(request, asker)

        try:
            await serve(stream, answer, limits=_LIMITS, stopping=stopping)
        except BaseException:
            stream.abort()
            raise
        await stream.close()

    def _admit(self, certificate: bytes | None, alpn: str | None) -> Verdict:
        del alpn
        if certificate is not None:
            try:
                self._credentials.note_admitted(Peer.of(certificate).not_after)
            except CertificateError as error:
                return Verdict(Alert.BAD_CERTIFICATE, str(error))
        return Verdict()

    def _build(self) -> Credentials:
        context = server_context(
            chain=self._authority.tls_chain,
            key=self._authority.tls_key,
            trust=to_pem(*self._authority.ca_certificates),
            client_certificate=ssl.CERT_OPTIONAL,
            alpn=_ALPN,
            key_passphrase=self._authority.key_passphrase,
        )
        try_out(context)
        shown = certificates_from_pem(self._authority.tls_chain.read_bytes())[0]
        return Credentials(context, to_der(shown))
