"""Where an identity is kept that never touches a disk, its key least of all.

OpenSSL loads a chain and a key from files alone (``SSL_CTX_use_certificate_chain_file``), and
Python's `ssl` offers no other way. A pipe is a file that is nowhere: it is read once, by whoever
has its descriptor, and is gone.
"""

from __future__ import annotations

import os
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asynctls.errors import CertificateError, StateLockedError
from asynctls.pki.keys import PrivateKey, key_to_pem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asynctls.enrolment.texts import Joined, Texts

__all__ = ["Memory", "readable_once"]


class Memory:
    """An identity in memory; whoever has it has the same one, renewed by whichever of them."""

    advice = "give others"

    def __init__(self, texts: Texts, *, crl: str) -> None:
        """Keeps these.

        Args:
            texts: key, certificates and origin.
            crl: the CRLs, PEM; empty: none yet.
        """
        self._texts = texts
        self._crl = crl
        # What is read and written here is so in threads.
        self._lock = threading.Lock()
        self._held = threading.Lock()

    def __str__(self) -> str:
        return "memory"

    def place(self, name: str) -> str:
        """What a file of that name would hold, in words."""
        return f"what was given as {name}"

    def find(self) -> Texts:
        """What is here."""
        return self._texts

    def certificate(self) -> bytes:
        """The chain as it is now, PEM."""
        return self._texts.certificate

    def crl(self) -> str:
        """The CRLs as they are now, PEM."""
        return self._crl

    @contextmanager
    def loadable(self) -> Iterator[tuple[Path, Path]]:
        """What OpenSSL loads, once, while the context lasts: chain and key.

        Raises:
            CertificateError: one is larger than a pipe holds (64 KiB; Linux gives 4 or 8 to
                a user who has very many).
        """
        texts = self._texts
        with readable_once(texts.certificate) as chain, readable_once(texts.key) as key:
            yield chain, key

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Has nobody else write here while the context lasts.

        Raises:
            StateLockedError: Another keeper, or another task of this one, does so already.
        """
        if not self._held.acquire(blocking=False):
            raise StateLockedError("the identity in memory is being written just now")
        try:
            yield
        finally:
            self._held.release()

    def store(self, joined: Joined, key: PrivateKey | None = None, *, word: str = "") -> None:
        """Makes ``joined`` the identity here.

        Args:
            joined: all but the key.
            key: the new one; None: as it is.
            word: of no use here.
        """
        del word
        with self._lock:
            self._texts = type(self._texts)(
                key=self._texts.key if key is None else key_to_pem(key),
                certificate=joined.certificate.encode(),
                trust=joined.trust.encode(),
                origin=joined.origin,
            )
            self._crl = joined.crl

    def store_crl(self, crl: str) -> None:
        """Replaces the CRLs alone."""
        self._crl = crl


@contextmanager
def readable_once(content: bytes) -> Iterator[Path]:
    """The path of a pipe with that content.

    Raises:
        CertificateError: it is larger than a pipe holds.
    """
    reading, writing = os.pipe()
    try:
        try:
            # Nobody reads yet: what does not fit would wait for ever.
            os.set_blocking(writing, False)
            written = os.write(writing, content)
        finally:
            os.close(writing)
        if written < len(content):
            raise CertificateError(f"a chain or key of {len(content)} bytes is too large")
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
