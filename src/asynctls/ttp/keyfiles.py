"""The TTP's private keys on disk: PKCS#8 in PEM (RFC 5958), encrypted when it is told how.

One place reads and writes them, so that a passphrase covers all: root, issuing CAs, and what the
TTP itself shows or signs with. A key that lies there unencrypted is read all the same: it is from
before there was a passphrase.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from asynctls import state
from asynctls.errors import CertificateError, StateError
from asynctls.pki.keys import PrivateKey, is_encrypted, key_from_pem, key_to_pem
from asynctls.ttp.passphrase import CREDENTIAL, VARIABLE, key_passphrase

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from asynctls.config import TTPConfig
    from asynctls.mac import Secret

__all__ = ["RESTORE", "KeyFiles"]

_IS_PEM = b"-----BEGIN"

RESTORE = "restore the state folder from a backup"
"""What is to be done when a key is gone."""


class KeyFiles:
    """The keys in one state folder, each in ``<name>.key`` (0600); everything here blocks."""

    def __init__(self, folder: Path, passphrase: Secret | None = None) -> None:
        """Nothing is read yet.

        Args:
            folder: the state folder.
            passphrase: what the keys are encrypted with; None: they are not.
        """
        self.folder = folder
        self.passphrase = passphrase

    @classmethod
    def of(cls, config: TTPConfig) -> Self:
        """Those of a TTP, by its settings and the environment.

        Raises:
            ConfigError: the passphrase cannot be had.
        """
        return cls(config.state, key_passphrase(config.key_passphrase_file, os.environ))

    def path(self, name: str) -> Path:
        """The file of that key."""
        return self.folder / f"{name}.key"

    def read(self, name: str) -> PrivateKey | None:
        """The key of that name, or None where there is no such file.

        Raises:
            StateError: others can read it, it is no key, or the passphrase does not open it.
        """
        path = self.path(name)
        try:
            pem = state.read_private(path)
        except FileNotFoundError:
            return None
        if self.passphrase is None and is_encrypted(pem):
            raise StateError(
                f"{path} is encrypted: give its passphrase by key_passphrase_file, the systemd "
                f"credential {CREDENTIAL} or the environment's {VARIABLE}"
            )
        try:
            return key_from_pem(pem, passphrase=self.passphrase)
        except CertificateError as error:
            raise StateError(f"{path} cannot be used: {error}; or {RESTORE}") from error

    def write(self, name: str, key: PrivateKey) -> None:
        """Writes a key, in place of one that is there.

        Raises:
            StateError: the file cannot be written.
        """
        state.write_atomically(self.path(name), key_to_pem(key, passphrase=self.passphrase))

    def remove(self, name: str) -> None:
        """Removes a key, for good, if it is there.

        Raises:
            StateError: the folder cannot be written.
        """
        state.remove(self.path(name))

    def encrypt(self) -> tuple[str, ...]:
        """Encrypts the keys that lie here unencrypted, when there is a passphrase.

        Returns:
            Their names.

        Raises:
            StateError: a key cannot be read or written.
        """
        if self.passphrase is None:
            return ()
        done = []
        for path in sorted(self.folder.glob("*.key")):
            # The ledger's key is no private key: it is 32 bytes, and no passphrase covers it.
            if _IS_PEM in (pem := state.read_private(path)) and not is_encrypted(pem):
                key = self.read(path.stem)
                if key is not None:
                    self.write(path.stem, key)
                    done.append(path.stem)
        return tuple(done)
