"""What only a CA can make, for the attacks that need it (`--ttp-state`).

It works on a TTP's state folder as the admin verbs do: beside a running daemon or without one, with
its passphrase where the keys have one. Every certificate is in the ledger (`ttp.trials`), ends
within minutes, and is revoked when the last attack is over.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509

from asynctls.config import Address
from asynctls.enrolment import Identity
from asynctls.enrolment.texts import Joined
from asynctls.errors import CertificateError, LedgerError
from asynctls.logger import get_logger
from asynctls.pki.keys import KeyType, generate
from asynctls.pki.names import format_serial
from asynctls.probe.credential import Credential
from asynctls.ttp.administration import Administration
from asynctls.ttp.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from asynctls.config import TTPConfig
    from asynctls.pki.keys import PrivateKey
    from asynctls.pki.profiles import Profile

__all__ = ["Certifier"]

log = get_logger()

_REASON = "cessationOfOperation"
_LIFETIME = timedelta(minutes=2)
# Port 0 is nobody's: what is issued here is not to be renewed.
_NO_TTP = Address("127.0.0.1", 0)


class Certifier:
    """Has a TTP's CA certify what no policy would; an async context manager.

    At its end it revokes all that could still be used.
    """

    def __init__(self, authority: Administration) -> None:
        self._authority = authority
        self._usable: dict[int, datetime] = {}

    @classmethod
    async def beside(cls, config: TTPConfig) -> Self:
        """Opens the state folder that the config names.

        Raises:
            StateError: there is no CA in it, or it cannot be used.
        """
        return cls(await Administration.beside(config))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with self._authority:
            now = datetime.now(UTC)
            for serial_number in [each for each, end in self._usable.items() if end > now]:
                await self._take_back(serial_number)

    async def _take_back(self, serial_number: int) -> None:
        end = self._usable[serial_number]
        try:
            await self._revoke(serial_number)
        except CertificateError:
            # There is none of that number, or an admin was first.
            pass
        except LedgerError as error:
            # What was found out is to be told all the same.
            log.warning(
                "trial certificate not revoked",
                serial=format_serial(serial_number),
                until=end.isoformat(timespec="seconds"),
                reason=str(error),
            )

    @property
    def root(self) -> x509.Certificate:
        """The CA's root."""
        return self._authority.root

    def name_of_nobody(self) -> str:
        """A name that the CA can certify, and that nobody has.

        Raises:
            CertificateError: its constraints leave none that could be tried.
        """
        return self._authority.name_of_nobody()

    async def issue(
        self,
        profile: Profile,
        names: Sequence[str],
        *,
        lifetime: timedelta = _LIFETIME,
        starts_in: timedelta = timedelta(),
        uses: Sequence[x509.ObjectIdentifier] | None = None,
    ) -> Identity:
        """A new key and a certificate for it, in memory alone, without a CRL.

        All is in order but for what is asked for.

        Args:
            profile: which role it is for.
            names: its subject alternative names; what constraints forbid is certified all the same.
            lifetime: counted from its issuance, a second or more.
            starts_in: when it says that it was issued, from now; less than nothing: that long ago.
                A minute before that it begins (`profiles.MAX_BACKDATING`), where it lasts longer.
            uses: its extended key usages, where they are not the profile's.

        Raises:
            CertificateError: it would end later than in five minutes; a name that is none.
            LedgerError: it could not be recorded; nothing was issued.
        """
        key = await generate(KeyType.ECDSA_P256)
        issued = await self.certify(
            key, profile, names, lifetime=lifetime, starts_in=starts_in, uses=uses
        )
        certificate, *issuing = issued.chain
        root = self._authority.root
        return Identity.in_memory(
            key, Joined.of(certificate, issuing=tuple(issuing), root=root, crl="", ttp=_NO_TTP)
        )

    async def certify(
        self,
        key: PrivateKey,
        profile: Profile,
        names: Sequence[str],
        *,
        lifetime: timedelta = _LIFETIME,
        starts_in: timedelta = timedelta(),
        uses: Sequence[x509.ObjectIdentifier] | None = None,
    ) -> Credential:
        """As `issue`, for a key of any kind and size: also one that makes no identity.

        Raises:
            CertificateError: as for `issue`.
            LedgerError: likewise.
        """
        trial = Trial(
            sans=tuple(names),
            public_key=key.public_key(),
            starts_in=starts_in,
            lifetime=lifetime,
            profile=profile,
            uses=None if uses is None else tuple(uses),
            serial_number=x509.random_serial_number(),
        )
        # Noted first: whoever is cancelled now may have it in the ledger all the same.
        self._usable[trial.serial_number] = datetime.now(UTC) + starts_in + lifetime
        return Credential(key, await self._authority.certify_trial(trial))

    async def revoke(self, issued: Identity | Credential) -> None:
        """Revokes it, which the TTP's next CRL says; a daemon serves that within half a second.

        Raises:
            LedgerError: it could not be recorded; it is not revoked.
        """
        await self._revoke(issued.serial_number)

    async def _revoke(self, serial_number: int) -> None:
        await self._authority.revoke(format_serial(serial_number), reason=_REASON)
        del self._usable[serial_number]
