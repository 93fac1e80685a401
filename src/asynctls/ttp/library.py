"""A TTP inside a program: private mutual TLS between services, without a daemon of its own."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from asynctls.config import Address, TTPConfig
from asynctls.enrolment import JoinString
from asynctls.pki.profiles import Profile
from asynctls.state import hold_state_folder
from asynctls.ttp import authority
from asynctls.ttp.public_address import public_address
from asynctls.ttp.service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from asynctls.config import KeyTypeName, ProfileName
    from asynctls.ttp.lists import CertificateStatus, ListedCertificate

__all__ = ["Authority"]

_TTL = timedelta(minutes=10)
_LIFETIME = timedelta(hours=24)


class Authority:
    """A CA that other programs, and this one, join; an async context manager.

    It is what ``asynctls ttp`` runs, and the commands (``asynctls ttp list``, ``revoke``) work
    beside it::

        async with asynctls.Authority("ttp-state/", "127.0.0.1:8440") as authority:
            identity = await asynctls.join(await authority.token("server"))
    """

    def __init__(
        self,
        folder: str | Path,
        address: str,
        *,
        names: Sequence[str] = (),
        key_type: KeyTypeName = "rsa-3072",
    ) -> None:
        """Opens and serves nothing yet.

        Args:
            folder: its state folder; the keys of root and issuing CA are made at the first start.
            address: where to listen, ``HOST:PORT``; port 0 lets the system choose one, and those
                who have joined look for it there again.
            names: DNS names or IP addresses of this TTP, the first of which stands in join
                strings; needed where it listens on every address.
            key_type: the kind of both CAs' keys, at the first start.

        Raises:
            ValueError: the address is none.
        """
        self._config = TTPConfig(
            state=Path(folder),
            listen=Address.parse(address),
            name=tuple(names),
            root_key_type=key_type,
            issuing_key_type=key_type,
        )
        self._stack = AsyncExitStack()
        self._authority: authority.Authority | None = None
        self._address: Address | None = None

    async def __aenter__(self) -> Self:
        """Opens the CA and answers from now on.

        Raises:
            ConfigError: it cannot listen there, or nobody could be told where it is.
            StateError: the state folder cannot be used, or another process holds it.
        """
        config = self._config
        stopping = asyncio.Event()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(hold_state_folder(config.state))
            opened = await stack.enter_async_context(await authority.Authority.open(config))
            listener, connections = await stack.enter_async_context(
                Service(opened, config).serving(stopping)
            )
            stack.push_async_callback(connections.drain, config.drain.total_seconds())
            # Before that: whoever has no question under way is let go at once.
            stack.callback(stopping.set)
            stack.callback(listener.close)
            self._authority, self._stack = opened, stack.pop_all()
        self._address = public_address(config, port=listener.address.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._authority = None
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def address(self) -> Address:
        """Where it is, as join strings say it."""
        if self._address is None:
            raise RuntimeError("the authority serves nothing: it is to be entered by 'async with'")
        return self._address

    @property
    def root_sha256(self) -> bytes:
        """The root's fingerprint, which join strings pin, 32 bytes."""
        return self._opened.root_sha256

    async def token(
        self,
        name: str,
        *,
        sans: Sequence[str] = (),
        role: ProfileName = "peer",
        ttl: timedelta = _TTL,
        lifetime: timedelta = _LIFETIME,
    ) -> str:
        """A join string for one use: a secret, for whoever is to be called so.

        Args:
            name: a DNS name, a URI or an IP address; also one of the SANs.
            sans: further ones.
            role: what the certificate is good for: server, client, or peer for both.
            ttl: for how long it can be used.
            lifetime: of the certificates that it leads to, renewals included.

        Raises:
            ConfigError: with every name or length of time that cannot be.
            LedgerError: the ledger cannot be written.
        """
        token_id, secret = await self._opened.create_token(
            name, sans=sans, profile=Profile(role), ttl=ttl, lifetime=lifetime
        )
        return JoinString(token_id, secret, self.address, name, self.root_sha256).format()

    async def revoke(self, which: str, *, reason: str = "unspecified") -> list[str]:
        """Revokes a serial number, or every valid certificate and unused token of exactly a name.

        Args:
            which: the serial number, or the name.
            reason: as RFC 5280, section 5.3.1 has it: ``keyCompromise``, ``superseded``.

        Returns:
            The serial numbers that were revoked.

        Raises:
            ConfigError: no such reason.
            CertificateError: nothing to revoke.
            LedgerError: it could not be recorded; nothing was revoked.
        """
        return await self._opened.revoke(which, reason=reason)

    async def list_certificates(
        self, status: CertificateStatus | None = None
    ) -> list[ListedCertificate]:
        """Every certificate issued to a role, oldest first, or those of one status.

        Args:
            status: valid, expired or revoked; None: all.
        """
        return await self._opened.list_certificates(status)

    @property
    def _opened(self) -> authority.Authority:
        if self._authority is None:
            raise RuntimeError("the authority is closed: it is to be entered by 'async with'")
        return self._authority
