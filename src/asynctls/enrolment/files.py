"""What other programs load beside us: CAs and CRLs are written where an identity is kept.

Each only when it is not what is there, so that nobody reloads for nothing; and again until it has
worked, since what is in use need not be what could be written.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from asynctls.enrolment import crls
from asynctls.enrolment.identity import store_trust
from asynctls.errors import StateLockedError
from asynctls.state import to_its_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from asynctls.enrolment.identity import Identity
    from asynctls.pki.status import RevocationList

__all__ = ["Files"]


class Files:
    """Knows what is written, and tells whoever loads it of what has changed."""

    def __init__(self, *, trust: str, holds_folder: bool) -> None:
        """Nothing is written yet.

        Args:
            trust: The CAs that are there, PEM.
            holds_folder: Whether the caller holds the identity's folder all the while. Where not,
                it is held for each writing.
        """
        self._trust = trust
        self._lists: tuple[RevocationList, ...] = ()
        self._holds_folder = holds_folder
        self._on_write: list[Callable[[str], None]] = []

    def on_write(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Has ``callback`` called when files have changed, with which; returns what ends that."""
        self._on_write.append(callback)
        return partial(self._on_write.remove, callback)

    def wrote(self, what: str) -> None:
        """``certificate`` (and its key), ``ca`` or ``crl`` has changed."""
        for callback in self._on_write:
            callback(what)

    def found(self, trust: str, lists: tuple[RevocationList, ...]) -> None:
        """This is what is there."""
        self._trust, self._lists = trust, lists

    def held(self, identity: Identity) -> AbstractAsyncContextManager[None]:
        """While the context lasts, no other process writes where ``identity`` is kept.

        Raises:
            StateLockedError: Another one holds it already.
        """
        return nullcontext() if self._holds_folder else identity.store.held()

    async def write(self, identity: Identity, lists: tuple[RevocationList, ...]) -> None:
        """Writes what is not there yet: the CAs that ``identity`` trusts, and these CRLs.

        Raises:
            StateError: They cannot be written; what was there is as it was.
        """
        has_new_trust = identity.trust != self._trust
        if not has_new_trust and lists == self._lists:
            return
        try:
            async with self.held(identity):
                # In the same thread, since a list may be long.
                await to_its_end(_write, identity, lists, trust=has_new_trust)
        except StateLockedError:
            # Whoever holds the folder fetches for it.
            return
        self.found(identity.trust, lists)
        self.wrote("ca" if has_new_trust else "crl")


def _write(identity: Identity, lists: tuple[RevocationList, ...], *, trust: bool) -> None:
    crl = crls.to_pem(lists)
    if trust:
        store_trust(identity, crl=crl)
    else:
        identity.store.store_crl(crl)
