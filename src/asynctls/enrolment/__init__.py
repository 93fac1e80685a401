"""A role's identity: got from the TTP by a token, kept on disk as PEM, kept fresh while in use.

The certificate layer's face for all three roles. It asks the TTP over EST (RFC 7030) and serves
nothing itself. Loaded when it is asked for (PEP 562): who only reads an identity speaks no EST.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctls.enrolment.identity import Identity
    from asynctls.enrolment.join_string import JoinString
    from asynctls.enrolment.joining import ensure_identity, ensure_identity_alone, join
    from asynctls.enrolment.keeper import Keeper

__all__ = ["Identity", "JoinString", "Keeper", "ensure_identity", "ensure_identity_alone", "join"]

_MODULES = {
    "Identity": "identity",
    "JoinString": "join_string",
    "Keeper": "keeper",
    "ensure_identity": "joining",
    "ensure_identity_alone": "joining",
    "join": "joining",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
