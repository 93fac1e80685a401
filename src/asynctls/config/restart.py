"""What of a config cannot change while its role runs."""

from collections.abc import Mapping
from types import MappingProxyType

from asynctls.config.tables import (
    TABLES,
    ClientConfig,
    IdentityConfig,
    RoleConfig,
    ServerConfig,
    TTPConfig,
)
from asynctls.errors import Fault

__all__ = ["NEEDS_RESTART", "changes", "restart_faults"]

NEEDS_RESTART: Mapping[type[RoleConfig], tuple[str, ...]] = MappingProxyType(
    {
        TTPConfig: (
            "log_format",
            "state",
            "listen",
            "name",
            "public",
            "key_passphrase_file",
            "ledger",
            "status_listen",
            "status_url",
            "metrics_listen",
        ),
        ServerConfig: ("log_format", "state", "metrics_listen", "workers"),
        ClientConfig: (
            "log_format",
            "state",
            "metrics_listen",
            "json",
            "follow",
            "send",
            "explain",
        ),
        IdentityConfig: ("log_format", "state", "metrics_listen"),
    }
)
"""By role. All else is taken by a reload, or counts only when an identity or a CA is made."""


def changes(before: RoleConfig, after: RoleConfig) -> tuple[str, ...]:
    """The keys whose values differ."""
    return tuple(
        name for name in after.__struct_fields__ if getattr(before, name) != getattr(after, name)
    )


def restart_faults(before: RoleConfig, after: RoleConfig) -> tuple[Fault, ...]:
    """One for each key that has changed and cannot, while the role runs."""
    kind = type(after)
    table = next(name for name, each in TABLES.items() if each is kind)
    return tuple(
        Fault(f"{table}.{name}", "reload", "has changed, and needs a restart to count")
        for name in changes(before, after)
        if name in NEEDS_RESTART[kind]
    )
