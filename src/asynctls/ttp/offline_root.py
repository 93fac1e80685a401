"""The root's key away from the TTP's host, and the CRL that the root signs there.

A root signs twice a year or less. Where its key is not on the host, whoever takes the host over can
issue until the issuing CA is revoked, but cannot make another one.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asynctls import state
from asynctls.errors import CertificateError, StateError
from asynctls.logger import get_logger
from asynctls.pki.keys import key_from_pem, key_to_pem
from asynctls.pki.profiles import key_id_text
from asynctls.pki.status import RevocationList, read_crl
from asynctls.ttp import ca, crls, status
from asynctls.ttp.reminders import Reminder
from asynctls.ttp.schema import CRLBody, Kind, row_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from asynctls.pki.keys import PrivateKey
    from asynctls.ttp.ca import CertificateAuthority
    from asynctls.ttp.crls import SignedCRL
    from asynctls.ttp.keyfiles import KeyFiles
    from asynctls.ttp.transactions import Transaction

__all__ = ["CRLReminder", "export_key", "import_crl"]

log = get_logger()

_HOW = (
    "the root's key is not here: sign its next CRL where it is, numbered above the last one, and "
    "bring it by 'asynctls ttp root --import-crl FILE'"
)


class CRLReminder:
    """Asks for the root's next CRL while the root's key is elsewhere."""

    def __init__(self) -> None:
        self._reminder = Reminder()

    def look(self, crl: SignedCRL | None, now: datetime) -> None:
        """Says it when two thirds of the CRL's time are over, again the nearer its end, and loudly
        once it has ended: who checks the issuing CAs themselves then refuses all that they issued.

        Args:
            crl: the root's last one, if there is one.
            now: the time.
        """
        if crl is None:
            if self._reminder.is_due(timedelta()):
                log.warning("the root has no CRL yet", reason=_HOW)
            return
        left = crl.next_update - now
        if left > (crl.next_update - crl.this_update) / 3:
            self._reminder.reset()
        elif self._reminder.is_due(left):
            ended = left <= timedelta()
            log.log(
                logging.ERROR if ended else logging.WARNING,
                "the root's CRL has ended" if ended else "the root's CRL must be renewed by hand",
                number=crl.number,
                ends=crl.next_update.isoformat(),
                reason=_HOW,
            )


def export_key(
    transaction: Transaction,
    authority: CertificateAuthority,
    keys: KeyFiles,
    file: Path,
    *,
    now: datetime,
) -> None:
    """Writes the root's key to a file, encrypted as it was here; it is still here as well.

    The root's CRL is signed once more, so that the next one is needed as late as can be. That row
    also has a daemon look at its CAs, which lets go of the key once it is removed.

    Raises:
        StateError: the key is not here, the file is there already with something else in it, or
            cannot be written.
    """
    root = authority.root_issuer
    if root is None:
        raise StateError(f"{keys.path(ca.ROOT)} is not here: the root's key was moved away before")
    # The key itself is there after a try whose row did not come into the ledger.
    if file.exists() and not _holds(file, root.key, keys):
        raise StateError(f"{file} is there already; choose another name")
    state.write_atomically(file, key_to_pem(root.key, passphrase=keys.passphrase))
    # Read back before anybody removes the other copy.
    if not _holds(file, root.key, keys):
        raise StateError(f"{file} does not hold what was written to it; nothing was removed")
    status.sign_root(transaction, root, now=now, only_if_due=False)


def import_crl(
    transaction: Transaction, authority: CertificateAuthority, content: bytes, *, now: datetime
) -> RevocationList:
    """Takes up a CRL that the root signed elsewhere.

    Args:
        transaction: the writer's.
        authority: whose root it is.
        content: the CRL, PEM or DER.
        now: the time.

    Raises:
        CertificateError: it is none of this root's, has ended, or its number is not above that of
            the last one.
    """
    crl = read_crl(_der(content), authority.root)
    if crl.next_update <= now:
        raise CertificateError(
            f"the CRL ended on {crl.next_update:%Y-%m-%d %H:%M:%S} UTC; sign a new one"
        )
    key_id = key_id_text(authority.root)
    held = crls.latest(transaction.connection, key_id)
    if held is not None and crl.number <= held.number:
        raise CertificateError(
            f"the CRL has number {crl.number}, and the last one of this root has {held.number}: "
            "programs that hold that one would not take it; sign one with a higher number"
        )
    transaction.append(
        row_of(
            Kind.CRL_SIGNED,
            CRLBody(this_update=crl.this_update, number=crl.number),
            at=int(now.timestamp()),
            name=ca.ROOT,
            ends_at=int(crl.next_update.timestamp()),
            der=crl.der,
            issuer=key_id,
        )
    )
    return crl


def _holds(file: Path, key: PrivateKey, keys: KeyFiles) -> bool:
    try:
        found = key_from_pem(state.read_private(file), passphrase=keys.passphrase)
    except (OSError, StateError, CertificateError):
        return False
    return found.public_key() == key.public_key()


def _der(content: bytes) -> bytes:
    if b"-----BEGIN" not in content:
        return content
    try:
        return x509.load_pem_x509_crl(content).public_bytes(Encoding.DER)
    except ValueError as error:
        raise CertificateError("this is no CRL in PEM or DER that can be read") from error
