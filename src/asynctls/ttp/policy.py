"""May this be issued? Pure: a request, its grant and the policy in, a decision out.

A request may leave names out, since the grant fills them in, and may name nothing beyond its grant
(RFC 7030, section 4.2.1, leaves that to the CA's policy). Extensions are never copied from it: what
it asks for beyond names and usages is ignored, and listed so that it can be logged.

A grant says what one token's holder may have; the policy of the config says what anybody may have,
also the holders of tokens and certificates from before it was set. A decision has every reason at
once. The rules by which the TTP says no have their names here, with the HTTP status that each is
told by.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Self

from asynctls.config import format_duration
from asynctls.enrolment.est_codec import linked_to
from asynctls.errors import CertificateError, ConfigError, Fault
from asynctls.pki.keys import KeyType
from asynctls.pki.name_rules import NameRule
from asynctls.pki.names import format_san, parse_san
from asynctls.pki.profiles import Profile, usages_beyond

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asynctls.config import TTPConfig
    from asynctls.pki.requests import Request

__all__ = [
    "GRANTABLE",
    "Decision",
    "Grant",
    "Policy",
    "Refusal",
    "Rule",
    "checked_grant",
    "decide",
    "judge_link",
]

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
    NAME_NOT_ALLOWED = ("name-not-allowed", 403)
    KEY_TYPE_NOT_ALLOWED = ("key-type-not-allowed", 403)
    PROFILE_NOT_ALLOWED = ("profile-not-allowed", 403)
    OUTSIDE_CONSTRAINTS = ("outside-name-constraints", 403)
    NOT_LINKED = ("not-linked", 403)
    LINKED_ELSEWHERE = ("linked-elsewhere", 403)
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
    """What its holder may be certified as; ``sans`` has ``name`` in it, in canonical form.

    Attributes:
        name: what its holder is called.
        sans: the names that its certificates have whatever the request says.
        profile: server, client or peer.
        lifetime: of its certificates, unless the policy has a shorter one.
        allow_names: which further names a request may ask for.
        key_types: the kinds of key that it is for, each with its least size; empty: any.
    """

    name: str
    sans: tuple[str, ...]
    profile: Profile
    lifetime: timedelta
    allow_names: tuple[NameRule, ...] = ()
    key_types: tuple[KeyType, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What this TTP certifies at all: the part of its config of that name; empty: anything."""

    names: tuple[NameRule, ...] = ()
    key_types: tuple[KeyType, ...] = ()
    profiles: tuple[Profile, ...] = ()
    max_lifetime: timedelta | None = None
    require_linking: bool = False

    @classmethod
    def of(cls, config: TTPConfig) -> Self:
        """The policy of a config.

        Raises:
            ConfigError: with each name rule that is none.
        """
        rules, faults = _rules(config.allow_names, key="ttp.allow_names", source="config")
        if faults:
            raise ConfigError(*faults)
        return cls(
            names=rules,
            key_types=tuple(map(KeyType, config.allow_key_types)),
            profiles=tuple(map(Profile, config.allow_profiles)),
            max_lifetime=config.max_lifetime,
            require_linking=config.require_linking,
        )

    def allows_name(self, san: str) -> bool:
        """Whether a name may be certified."""
        return not self.names or any(rule.covers(san) for rule in self.names)

    def allows_profile(self, profile: Profile) -> bool:
        """Whether a profile may be certified."""
        return not self.profiles or profile in self.profiles

    def lifetime(self, granted: timedelta) -> timedelta:
        """What a certificate lives that was granted ``granted``."""
        return granted if self.max_lifetime is None else min(granted, self.max_lifetime)


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed when there is no refusal.

    Attributes:
        refusals: every rule against it.
        sans: the names that the certificate will have.
        ignored: what was asked for in vain.
    """

    refusals: tuple[Refusal, ...]
    sans: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def refusal(self) -> Refusal | None:
        """All of them as one: the first one's rule, everybody's reasons."""
        if not self.refusals:
            return None
        return Refusal(self.refusals[0].rule, "; ".join(each.reason for each in self.refusals))


def checked_grant(
    name: str,
    *,
    sans: Sequence[str],
    profile: Profile,
    ttl: timedelta,
    lifetime: timedelta,
    allow_names: Sequence[str] = (),
    key_types: Sequence[KeyType] = (),
    policy: Policy | None = None,
) -> Grant:
    """A grant out of what a person typed, its names in the one form that certificates have.

    Args:
        name: what its holder will be called.
        sans: its further names.
        profile: server, client or peer.
        ttl: for how long its token can be used.
        lifetime: of its certificates.
        allow_names: rules for further names that a request may ask for.
        key_types: the kinds of key that it is for; none: any.
        policy: what it must keep to, so that nobody gets a token that leads nowhere.

    Raises:
        ConfigError: with each name that is none, a profile that no token grants, each length of
            time that cannot be, and all that the policy has against it.
    """
    policy = policy or Policy()
    faults = []
    names: dict[str, None] = {}
    for key, text in (("name", name), *(("san", san) for san in sans)):
        try:
            canonical = format_san(parse_san(text))
        except CertificateError as error:
            faults.append(Fault(key, _TOKEN, str(error)))
            continue
        names[canonical] = None
        if not policy.allows_name(canonical):
            faults.append(Fault(key, _TOKEN, _name_not_allowed([canonical], policy)))
    rules, bad_rules = _rules(allow_names, key="allow-name", source=_TOKEN)
    faults += bad_rules
    if profile not in GRANTABLE:
        faults.append(Fault("role", _TOKEN, f"it is one of {', '.join(GRANTABLE)}"))
    elif not policy.allows_profile(profile):
        faults.append(Fault("role", _TOKEN, _profile_not_allowed(profile, policy)))
    most_lifetime = policy.lifetime(MAX_LIFETIME)
    for key, length, most in (("ttl", ttl, MAX_TTL), ("lifetime", lifetime, most_lifetime)):
        if not timedelta(seconds=1) <= length <= most:
            limit = format_duration(most)
            faults.append(Fault(key, _TOKEN, f"it is between 1s and {limit}"))
    if faults:
        raise ConfigError(*faults)
    return Grant(next(iter(names)), tuple(names), profile, lifetime, rules, tuple(key_types))


def decide(request: Request, grant: Grant, policy: Policy) -> Decision:
    """Holds what ``request`` asks for against ``grant``, and what would come of it against both."""
    refusals: list[Refusal] = []
    asked = dict.fromkeys(request.sans)
    common_name = _canonical(request.common_name) if request.common_name else None
    if common_name is not None:
        asked[common_name] = None
    further = [san for san in asked if san not in grant.sans]
    granted = [san for san in further if any(rule.covers(san) for rule in grant.allow_names)]
    beyond = [
        f"the subject {request.common_name!a} is not in it"
        if san == common_name and san not in request.sans
        else f"the name {san} is not in it"
        for san in further
        if san not in granted
    ]
    beyond += [
        f"{usage} is not of the profile {grant.profile}"
        for usage in usages_beyond(grant.profile, request)
    ]
    if beyond:
        reason = (
            f"the request asks for more than {grant.name} was granted: {'; '.join(beyond)}; leave "
            "it out, or ask for a token that grants it"
        )
        refusals.append(Refusal(Rule.BEYOND_GRANT, reason))
    sans = (*grant.sans, *granted)
    outside = [san for san in sans if not policy.allows_name(san)]
    if outside:
        refusals.append(Refusal(Rule.NAME_NOT_ALLOWED, _name_not_allowed(outside, policy)))
    if not policy.allows_profile(grant.profile):
        reason = _profile_not_allowed(grant.profile, policy)
        refusals.append(Refusal(Rule.PROFILE_NOT_ALLOWED, reason))
    for whose, key_types in (
        ("this TTP's policy (allow_key_types)", policy.key_types),
        (f"the grant of {grant.name}", grant.key_types),
    ):
        if key_types and not any(request.key_type.at_least(least) for least in key_types):
            reason = (
                f"a key of the kind {request.key_type} is not allowed by {whose}: make one of "
                f"{_listed(key_types)} or larger"
            )
            refusals.append(Refusal(Rule.KEY_TYPE_NOT_ALLOWED, reason))
    return Decision(tuple(refusals), sans, request.ignored)


def judge_link(request: Request, tls_unique: bytes | None, policy: Policy) -> Refusal | None:
    """Whether a request was made for the connection that it came on (RFC 7030, section 3.5).

    Args:
        request: whose challenge password, where there is one, is the link.
        tls_unique: the connection's; None where it cannot be relied on.
        policy: whether there must be a link.
    """
    link = request.challenge_password
    if link is None:
        if not policy.require_linking:
            return None
        return Refusal(
            Rule.NOT_LINKED,
            "this TTP's policy (require_linking) wants the connection's tls-unique, in base64, as "
            "the request's challengePassword (RFC 7030, section 3.5)",
        )
    if tls_unique is not None and hmac.compare_digest(
        linked_to(tls_unique).encode(), link.encode()
    ):
        return None
    return Refusal(
        Rule.LINKED_ELSEWHERE,
        "the request's challengePassword is not the tls-unique of the connection that it came on "
        "(RFC 7030, section 3.5): it was made for another connection, or the attribute is used for "
        "something else and must be left out",
    )


_TOKEN = "ttp token"  # noqa: S105 - no password


def _canonical(common_name: str) -> str:
    """Subjects repeat a name for people, so any form of a granted name will do."""
    try:
        return format_san(parse_san(common_name))
    except CertificateError:
        # As a name of no kind would be written, so that no rule covers it.
        return f"CN {common_name!a}"


def _rules(
    texts: Iterable[str], *, key: str, source: str
) -> tuple[tuple[NameRule, ...], list[Fault]]:
    rules, faults = [], []
    for text in texts:
        try:
            rules.append(NameRule.parse(text))
        except CertificateError as error:
            faults.append(Fault(key, source, str(error)))
    return tuple(rules), faults


def _name_not_allowed(names: Sequence[str], policy: Policy) -> str:
    return (
        f"this TTP's policy (allow_names) does not allow {', '.join(names)}, only "
        f"{_listed(policy.names)}"
    )


def _profile_not_allowed(profile: Profile, policy: Policy) -> str:
    return (
        f"this TTP's policy (allow_profiles) does not allow {profile} certificates, only "
        f"{_listed(policy.profiles)}"
    )


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))
