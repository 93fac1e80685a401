"""A role's identity: got from the TTP by a token, kept on disk as PEM, kept fresh while in use.

The certificate layer's face for all three roles. It asks the TTP over EST (RFC 7030) and serves
nothing itself.
"""

from asynctls.enrolment.identity import Identity
from asynctls.enrolment.join_string import JoinString
from asynctls.enrolment.joining import ensure_identity, ensure_identity_alone, join
from asynctls.enrolment.keeper import Keeper

__all__ = ["Identity", "JoinString", "Keeper", "ensure_identity", "ensure_identity_alone", "join"]
