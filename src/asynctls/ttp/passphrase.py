"""The passphrase that encrypts the TTP's private keys at rest, and the three places it comes from.

Never an argument: other users of a machine can see those. A file is what a config names; a systemd
credential (``LoadCredentialEncrypted=asynctls-key-passphrase:…``) is decrypted by systemd into
memory for this service alone; an environment variable is for containers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynctls import state
from asynctls.errors import ConfigError, Fault, StateError
from asynctls.mac import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CREDENTIAL", "VARIABLE", "key_passphrase"]

CREDENTIAL: Final = "asynctls-key-passphrase"
VARIABLE: Final = "ASYNCTLS_KEY_PASSPHRASE"

_MOST_BYTES = 1024
"""OpenSSL, with which such a key shall open too, takes no longer passphrase."""


def key_passphrase(file: Path | None, environ: Mapping[str, str]) -> Secret | None:
    """The passphrase, or None where there is none; blocking.

    Args:
        file: the setting ``key_passphrase_file``; it wins over a credential, that over a variable.
        environ: the environment.

    Raises:
        ConfigError: it cannot be read, others can read it, or it is empty or too long.
    """
    if file is not None:
        return _checked(_read(file), str(file))
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder:
        path = Path(folder) / CREDENTIAL
        try:
            # Its mode is systemd's affair, which gives access by an ACL at times.
            return _checked(path.read_bytes(), str(path))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _fault(str(path), f"cannot be read: {error.strerror}") from error
    text = environ.get(VARIABLE)
    return _checked(text.encode(errors="surrogateescape"), VARIABLE) if text else None


def _read(file: Path) -> bytes:
    try:
        return state.read_private(file)
    except FileNotFoundError:
        raise _fault(str(file), "there is no such file") from None
    except StateError as error:
        raise _fault(str(file), str(error)) from error


def _checked(content: bytes, source: str) -> Secret:
    # One line end is the editor's, all else is the passphrase's.
    passphrase = content.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise _fault(source, "is empty: a passphrase is wanted")
    if b"\n" in passphrase:
        raise _fault(source, "has more than one line: a passphrase is one")
    if len(passphrase) > _MOST_BYTES:
        raise _fault(source, f"is longer than a passphrase can be ({_MOST_BYTES} bytes)")
    return Secret(passphrase)


def _fault(source: str, problem: str) -> ConfigError:
    return ConfigError(Fault("ttp.key_passphrase_file", source, problem))
