"""Where an identity is kept on disk, as PEM files that other programs load as they are.

=================  ==========================================================================
``key.pem``        the private key (PKCS#8, mode 0600)
``cert.pem``       the certificate, then the issuing CA's: what nginx, psql and curl load
``ca.pem``         the root and the issuing CAs that are trusted
``crl.pem``        the issuing CA's CRL and the root's
``identity.json``  the TTP's address, the root's fingerprint, the name
=================  ==========================================================================

They belong together, and no disk replaces five files at once. So a new identity is first written
whole into ``joined.json``, in one atomic step; from that moment on it is the identity, and whoever
reads it next, after whatever crash, finishes the copying.
"""

from __future__ import annotations

import stat
from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar

import msgspec

from asynctls.enrolment.joining_key import find_key_of, forget_joining_key, keep_joining_key
from asynctls.enrolment.texts import (
    CERTIFICATE,
    CRL,
    KEY,
    ORIGIN,
    TRUST,
    VERSION,
    Joined,
    Origin,
    Texts,
)
from asynctls.errors import CertificateError, IdentityError
from asynctls.pki.certificates import certificates_from_pem
from asynctls.pki.keys import PrivateKey, key_to_pem
from asynctls.state import hold_state_folder, read_private, write_atomically

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from pathlib import Path

__all__ = ["Folder"]

_JOURNAL = "joined.json"
_PUBLIC_MODE = 0o644
# Of bytes that are no text, msgspec raises Python's own error.
_DAMAGED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_AGAIN = "join again with a new token"


class Folder(msgspec.Struct, frozen=True):
    """An identity's state folder. All that reads or writes blocks.

    Attributes:
        path: Where it is.
        advice: What to do when what is in it cannot be used.
    """

    path: Path
    advice: ClassVar = _AGAIN

    def __str__(self) -> str:
        return str(self.path)

    def place(self, name: str) -> str:
        """Where a file of that name is, in words."""
        return str(self.path / name)

    def find(self) -> Texts | None:
        """What is here, an interrupted swap finished first; None: no identity at all.

        Raises:
            IdentityError: Something is missing or damaged, or others can enter the folder.
            StateError: Something cannot be read.
            OSError: Likewise.
        """
        self._finish()
        # First: a newer program may keep its certificate elsewhere, and that is not no identity.
        origin = self._origin()
        if not (self.path / CERTIFICATE).exists():
            return None
        _check_folder(self.path)
        if origin is None:
            raise self._missing(ORIGIN)
        return Texts(
            key=self._read_key(),
            certificate=self._read(CERTIFICATE),
            trust=self._read(TRUST),
            origin=origin,
        )

    def certificate(self) -> bytes:
        """What ``cert.pem`` holds now."""
        return self._read(CERTIFICATE)

    def crl(self) -> str:
        """What ``crl.pem`` holds now.

        Raises:
            OSError: It cannot be read.
        """
        return (self.path / CRL).read_text(encoding="ascii", errors="replace")

    def loadable(self) -> AbstractContextManager[tuple[Path, Path]]:
        """The files that OpenSSL loads, while the context lasts: chain and key."""
        return nullcontext((self.path / CERTIFICATE, self.path / KEY))

    def held(self) -> AbstractAsyncContextManager[None]:
        """Has no other process write here while the context lasts.

        Raises:
            StateLockedError: Another one holds it already.
        """
        return hold_state_folder(self.path)

    def store(self, joined: Joined, key: PrivateKey | None = None, *, word: str = "") -> None:
        """Makes ``joined`` the identity here, in one step; the next ``find`` does the copying.

        Args:
            joined: All but the key.
            key: The new one; None: the joining key that waits here, or, for the same certificate,
                the key as it is.
            word: What the key is for.

        Raises:
            StateError: It cannot be written; the old identity, if any, is as it was.
        """
        if key is not None:
            keep_joining_key(self.path, key, word)
        write_atomically(self.path / _JOURNAL, msgspec.json.encode(joined))

    def store_crl(self, crl: str) -> None:
        """Replaces the CRLs alone.

        Raises:
            StateError: They cannot be written; the old ones are as they were.
        """
        write_atomically(self.path / CRL, crl.encode(), mode=_PUBLIC_MODE)

    def _finish(self) -> None:
        """Copies what a journal holds to its places: any number of times, by anybody."""
        path = self.path
        try:
            content = read_private(path / _JOURNAL)
        except FileNotFoundError:
            return
        try:
            joined = msgspec.json.decode(content, type=Joined)
            self._check_version(joined.origin)
            leaf = certificates_from_pem(joined.certificate.encode())[0]
        except (*_DAMAGED, CertificateError) as error:
            raise IdentityError(f"{path / _JOURNAL} is damaged: {error}; {_AGAIN}") from error
        write_atomically(path / TRUST, joined.trust.encode(), mode=_PUBLIC_MODE)
        write_atomically(path / CRL, joined.crl.encode(), mode=_PUBLIC_MODE)
        write_atomically(path / ORIGIN, msgspec.json.encode(joined.origin), mode=_PUBLIC_MODE)
        # These two last and next to one another: in between, another program finds a pair that
        # does not match.
        write_atomically(path / CERTIFICATE, joined.certificate.encode(), mode=_PUBLIC_MODE)
        key = find_key_of(path, leaf)
        if key is not None:
            write_atomically(path / KEY, key_to_pem(key))
        forget_joining_key(path)
        (path / _JOURNAL).unlink(missing_ok=True)

    def _read_key(self) -> bytes:
        try:
            return read_private(self.path / KEY)
        except FileNotFoundError as error:
            raise self._missing(KEY) from error

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise self._missing(name) from error

    def _origin(self) -> Origin | None:
        try:
            origin = msgspec.json.decode((self.path / ORIGIN).read_bytes(), type=Origin)
        except FileNotFoundError:
            return None
        except _DAMAGED as error:
            raise IdentityError(f"{self.path / ORIGIN} is damaged: {error}; {_AGAIN}") from error
        self._check_version(origin)
        return origin

    def _check_version(self, origin: Origin) -> None:
        if origin.version > VERSION:
            raise IdentityError(
                f"{self.path} was written by a newer asynctls (identity {origin.version}; this one "
                f"knows {VERSION}): use the newer program, or another state folder"
            )

    def _missing(self, name: str) -> IdentityError:
        return IdentityError(f"{self.path / name} is missing; {_AGAIN}")


def _check_folder(folder: Path) -> None:
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise IdentityError(
            f"other users can enter {folder}, which holds a private key; do: chmod 700 {folder}"
        )
