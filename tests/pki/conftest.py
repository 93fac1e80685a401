"""A small certificate authority: keys are made once, certificates whenever a test wants one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol

import pytest

from asynctls.pki.keys import KeyType, PrivateKey, generate_now
from asynctls.pki.profiles import Issuer, Profile, issue, make_issuing, make_root

if TYPE_CHECKING:
    from cryptography import x509

DAY = timedelta(days=1)


class KeyOf(Protocol):
    def __call__(self, key_type: KeyType = ..., which: str = ...) -> PrivateKey: ...


class MakeCA(Protocol):
    def __call__(self, key_type: KeyType = ..., *, which: str = ...) -> CA: ...


@cache
def _key_of(key_type: KeyType = KeyType.ECDSA_P256, which: str = "") -> PrivateKey:
    """One key of each type (and purpose) for the whole run: RSA keys are dear."""
    return generate_now(key_type)


@dataclass(frozen=True)
class CA:
    root: Issuer
    issuing: Issuer
    now: datetime

    def leaf(
        self,
        *sans: str,
        profile: Profile = Profile.CLIENT,
        key: PrivateKey | None = None,
        lifetime: timedelta = DAY,
    ) -> x509.Certificate:
        return issue(
            profile,
            issuer=self.issuing,
            public_key=(key or _key_of(which="leaf")).public_key(),
            sans=sans,
            lifetime=lifetime,
            now=self.now,
        )


def _make_ca(key_type: KeyType = KeyType.ECDSA_P256, *, which: str = "") -> CA:
    now = datetime.now(UTC).replace(microsecond=0)
    root_key, issuing_key = _key_of(key_type, f"root{which}"), _key_of(key_type, f"issuing{which}")
    root = Issuer(make_root(root_key, lifetime=3652 * DAY, now=now), root_key)
    certificate = make_issuing(issuing_key.public_key(), issuer=root, lifetime=730 * DAY, now=now)
    return CA(root, Issuer(certificate, issuing_key), now)


@pytest.fixture
def ca() -> CA:
    return _make_ca()


@pytest.fixture
def other_ca() -> CA:
    return _make_ca(which="other")


@pytest.fixture
def key_of() -> KeyOf:
    return _key_of


@pytest.fixture
def make_ca() -> MakeCA:
    return _make_ca
