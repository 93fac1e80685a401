"""May this be issued? Pure: a request and its grant in, a decision out, with every reason at once.

A request may leave names out, since the grant fills them in, and may name nothing beyond its grant
(RFC 7030, section 4.2.1, leaves that to the CA's policy). Extensions are never copied from it: what
it asks for beyond names and usages is ignored, and listed so that it can be logged.

The rules by which the TTP says no have their names here, with the HTTP status that each is told by.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING

from asynctls.config import format_duration
from asynctls.errors import CertificateError, ConfigError, Fault
from asynctls.pki.names import format_san, parse_san
from asynctls.pki.profiles import Profile, usages_beyond

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynctls.pki.requests import Request

__all__ = ["GRANTABLE", "Decision", "Grant", "Refusal", "Rule", "checked_grant", "decide"]

GRANTABLE = (Profile.SERVER, Profile.CLIENT, Profile.PEER)
"""The profiles that a token can grant; never the TTP's own (RFC 7030, section 3.6)."""

MAX_TTL = timedelta(days=365)
MAX_LIFETIME = timedelta(days=36525)


class Rule(Enum):
    """Why an enrolment is refused: the rule's name, and the HTTP status (RFC 9110, section 15.5).

    401 is for those who have not shown a credential that counts, 403 for those who have and may
    not, 400 for a request that nobody could be granted, 429 for those who must wait.
    """

    TOKEN_UNKNOWN = ("token-unknown", 401)
    TOKEN_EXPIRED = ("token-expired", 403)
    TOKEN_USED = ("token-used", 403)
    TOKEN_REVOKED = ("token-revoked", 403)
    RATE_LIMITED = ("rate-limited", 429)
    BEYOND_GRANT = ("beyond-grant", 403)
    WEAK_KEY = ("weak-key", 400)
    MALFORMED_REQUEST = ("malformed-request", 400)
    CERTIFICATE_REVOKED = ("certificate-revoked", 403)
    CERTIFICATE_EXPIRED = ("certificate-expired", 403)
    NOT_RENEWABLE = ("not-renewable", 403)

    def __init__(self, text: str, status: int) -> None:
        self.text = text
        self.status = status


@dataclass(frozen=True, slots=True)
class Refusal:
    """One no: by which rule, and the reason in words for whoever asked and for the log."""

    rule: Rule
    reason: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What its holder may be certified as; ``sans`` has ``name`` in it, in canonical form."""

    name: str
    sans: tuple[str, ...]
    profile: Profile
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed when there is no reason against; ``ignored`` was asked for in vain."""

    reasons: tuple[str, ...]
    ignored: tuple[str, ...]


def checked_grant(
    name: str, *, sans: Sequence[str], profile: Profile, ttl: timedelta, lifetime: timedelta
) -> Grant:
    """A grant out of what a person typed, its names in the one form that certificates have.

    Raises:
        ConfigError: with each name that is none, a profile that no token grants, and each length of
            time that cannot be.
    """
    faults = []
    names: dict[str, None] = {}
    for key, text in (("name", name), *(("san", san) for san in sans)):
        try:
            names[format_san(parse_san(text))] = None
        except CertificateError as error:
            faults.append(Fault(key, "ttp token", str(error)))
    if profile not in GRANTABLE:
        faults.append(Fault("role", "ttp token", f"it is one of {', '.join(GRANTABLE)}"))
    for key, length, most in (("ttl", ttl, MAX_TTL), ("lifetime", lifetime, MAX_LIFETIME)):
        if not timedelta(seconds=1) <= length <= most:
            limit = format_duration(most)
            faults.append(Fault(key, "ttp token", f"it is between 1s and {limit}"))
    if faults:
        raise ConfigError(*faults)
    return Grant(next(iter(names)), tuple(names), profile, lifetime)


def decide(request: Request, grant: Grant) -> Decision:
    """Holds what ``request`` asks for against ``grant``."""
    reasons: list[str] = []
    if request.common_name and not _is_granted(request.common_name, grant):
        reasons.append(f"the subject {request.common_name!a} is not in it")
    reasons += [f"the name {san} is not in it" for san in request.sans if san not in grant.sans]
    reasons += [
        f"{usage} is not of the profile {grant.profile}"
        for usage in usages_beyond(grant.profile, request)
    ]
    return Decision(tuple(reasons), request.ignored)


def _is_granted(common_name: str, grant: Grant) -> bool:
    """Subjects repeat a name for people, so any form of a granted name will do."""
    try:
        return format_san(parse_san(common_name)) in grant.sans
    except CertificateError:
        return False
