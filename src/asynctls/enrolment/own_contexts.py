"""The contexts that connections are made with, out of the identity in use.

Three kinds, each made when it is first asked for: to accept, to connect to a server known by its
host, and to connect to one whose name is judged in `admission`. They follow the identity together.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from asynctls.enrolment.credentials import Credentials, FreshCredentials
from asynctls.errors import CertificateError
from asynctls.pki.certificates import certificates_from_pem, to_der
from asynctls.tls import contexts

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from asynctls.enrolment.identity import Identity

__all__ = ["OwnContexts"]


class OwnContexts:
    """Makes contexts of one identity, then of the next."""

    def __init__(
        self,
        identity: Callable[[], Identity],
        *,
        alpn: tuple[str, ...],
        clock: Callable[[], datetime],
    ) -> None:
        """Nothing is made yet.

        Args:
            identity: The one in use.
            alpn: What the contexts offer (RFC 7301).
            clock: The time, aware and UTC.
        """
        self._identity = identity
        self._alpn = alpn
        kinds = (self._for_servers, self._for_clients, self._for_clients_of_any_host)
        self._all = [
            (FreshCredentials(partial(self._build, make), clock=clock), make) for make in kinds
        ]
        self.server, self.client, self.client_for_any_host = (each for each, _ in self._all)

    def note_admitted(self, not_after: datetime) -> None:
        """A peer whose certificate ends then was admitted: none may resume its session later."""
        for each, _ in self._all:
            each.note_admitted(not_after)

    def retire(self) -> None:
        """No session ticket given so far counts, and no certificate read so far."""
        for each, _ in self._all:
            each.retire()

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """While it lasts nothing is made: the files that it would be made from change."""
        async with AsyncExitStack() as stack:
            for each, _ in self._all:
                await stack.enter_async_context(each.still())
            yield

    async def made_of(self, identity: Identity) -> Callable[[], None]:
        """Makes and tries what is in use anew, of another identity.

        Returns:
            What puts them into use, all at once.

        Raises:
            CertificateError: One cannot be made; nothing has changed.
        """
        chosen = [(each, make) for each, make in self._all if each.in_use]

        def build() -> list[Credentials]:
            return [_credentials(make(identity), identity) for _, make in chosen]

        built = await asyncio.to_thread(build)

        def take() -> None:
            # One that was first asked for meanwhile may be made of the identity before.
            self.retire()
            for (each, _), credentials in zip(chosen, built, strict=True):
                each.take(credentials)

        return take

    def _build(self, make: Callable[[Identity], ssl.SSLContext]) -> Credentials:
        identity = self._identity()
        return _credentials(make(identity), identity)

    def _for_servers(self, identity: Identity) -> ssl.SSLContext:
        context = contexts.server_context(
            chain=identity.certificate_file,
            key=identity.key_file,
            trust=identity.trust,
            alpn=self._alpn,
        )
        contexts.try_out(context)
        return context

    def _for_clients(self, identity: Identity) -> ssl.SSLContext:
        return self._client_context(contexts.client_context, identity)

    def _for_clients_of_any_host(self, identity: Identity) -> ssl.SSLContext:
        return self._client_context(contexts.client_context_for_any_host, identity)

    def _client_context(
        self, make: Callable[..., ssl.SSLContext], identity: Identity
    ) -> ssl.SSLContext:
        return make(
            trust=identity.trust,
            chain=identity.certificate_file,
            key=identity.key_file,
            alpn=self._alpn,
        )


def _credentials(context: ssl.SSLContext, identity: Identity) -> Credentials:
    # The context was built from files, which another process may have replaced since they were
    # read; a session is bound to the certificate that TLS really shows.
    on_disk = certificates_from_pem(identity.certificate_file.read_bytes())[0]
    if to_der(on_disk) != identity.certificate:
        raise CertificateError(
            f"{identity.certificate_file} is not the certificate in use: reload (SIGHUP) takes it"
        )
    return Credentials(context, identity.certificate)
