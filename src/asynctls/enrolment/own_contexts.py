"""The contexts that connections are made with, out of the identity in use.

Three kinds, for each protocol made when it is first asked for: to accept, to connect to a server
known by its host, and to connect to one whose name is judged in `admission`. They follow the
identity together.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from asynctls.enrolment.credentials import Credentials, FreshCredentials
from asynctls.enrolment.texts import CERTIFICATE
from asynctls.errors import CertificateError
from asynctls.pki.certificates import certificates_from_pem, to_der
from asynctls.tls import contexts

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from asynctls.enrolment.identity import Identity

__all__ = ["OwnContexts"]


class Make(msgspec.Struct, frozen=True):
    """How contexts of one kind and one protocol are made of an identity; blocks."""

    kind: Callable[..., ssl.SSLContext]
    alpn: tuple[str, ...]

    def __call__(self, identity: Identity) -> ssl.SSLContext:
        """A new one."""
        return self.kind(identity, alpn=self.alpn)


class OwnContexts:
    """Makes contexts of one identity, then of the next."""

    def __init__(self, identity: Callable[[], Identity], *, clock: Callable[[], datetime]) -> None:
        """Nothing is made yet.

        Args:
            identity: The one in use.
            clock: The time, aware and UTC.
        """
        self._identity = identity
        self._clock = clock
        self._building = asyncio.Lock()
        self._all: dict[Make, FreshCredentials] = {}

    def server(self, alpn: str | None) -> FreshCredentials:
        """To accept, with this protocol (RFC 7301) or, None, with none."""
        return self._fresh(_for_servers, alpn)

    def client(self, alpn: str | None) -> FreshCredentials:
        """To connect to a server that is known by its host, likewise."""
        return self._fresh(_for_clients, alpn)

    def client_for_any_host(self, alpn: str | None) -> FreshCredentials:
        """To connect to a server whose name is judged elsewhere, likewise."""
        return self._fresh(_for_clients_of_any_host, alpn)

    def note_admitted(self, not_after: datetime) -> None:
        """A peer whose certificate ends then was admitted: none may resume its session later."""
        for each in self._all.values():
            each.note_admitted(not_after)

    def retire(self) -> None:
        """No session ticket given so far counts, and no certificate read so far."""
        for each in self._all.values():
            each.retire()

    def still(self) -> AbstractAsyncContextManager[None]:
        """While it lasts nothing is made: the files that it would be made from change."""
        return self._building

    async def made_of(self, identity: Identity) -> Callable[[], None]:
        """Makes and tries what is in use anew, of another identity.

        Returns:
            What puts them into use, all at once.

        Raises:
            CertificateError: One cannot be made; nothing has changed.
        """
        chosen = [(make, each) for make, each in self._all.items() if each.in_use]

        def build() -> list[Credentials]:
            return [_credentials(make(identity), identity) for make, _ in chosen]

        built = await asyncio.to_thread(build)

        def take() -> None:
            # One that was first asked for meanwhile may be made of the identity before.
            self.retire()
            for (_, each), credentials in zip(chosen, built, strict=True):
                each.take(credentials)

        return take

    def _fresh(self, kind: Callable[..., ssl.SSLContext], alpn: str | None) -> FreshCredentials:
        make = Make(kind, () if alpn is None else (alpn,))
        if make not in self._all:
            self._all[make] = FreshCredentials(
                partial(self._build, make), clock=self._clock, building=self._building
            )
        return self._all[make]

    def _build(self, make: Make) -> Credentials:
        identity = self._identity()
        return _credentials(make(identity), identity)


def _credentials(context: ssl.SSLContext, identity: Identity) -> Credentials:
    # The context was built from files, which another process may have replaced since they were
    # read; a session is bound to the certificate that TLS really shows.
    kept = certificates_from_pem(identity.store.certificate())[0]
    if to_der(kept) != identity.certificate:
        raise CertificateError(
            f"{identity.store.place(CERTIFICATE)} is not the certificate in use: reload (SIGHUP) "
            "takes it"
        )
    return Credentials(context, identity.certificate)


def _for_servers(identity: Identity, *, alpn: tuple[str, ...]) -> ssl.SSLContext:
    with identity.store.loadable() as (chain, key):
        context = contexts.server_context(chain=chain, key=key, trust=identity.trust, alpn=alpn)
    contexts.try_out(context)
    return context


def _for_clients(identity: Identity, *, alpn: tuple[str, ...]) -> ssl.SSLContext:
    with identity.store.loadable() as (chain, key):
        return contexts.client_context(trust=identity.trust, chain=chain, key=key, alpn=alpn)


def _for_clients_of_any_host(identity: Identity, *, alpn: tuple[str, ...]) -> ssl.SSLContext:
    with identity.store.loadable() as (chain, key):
        return contexts.client_context_for_any_host(
            trust=identity.trust, chain=chain, key=key, alpn=alpn
        )
