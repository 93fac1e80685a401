"""Several services of one role: what ``[[server.tunnel]]`` and ``[[client.tunnel]]`` can set.

What a tunnel does not set it has from its role.
"""

from collections.abc import Mapping
from types import MappingProxyType

from asynctls.config.tables import ClientConfig, RoleConfig, ServerConfig

__all__ = ["BESIDE_NO_TUNNEL", "TUNNEL_KEYS"]

TUNNEL_KEYS: Mapping[type[RoleConfig], tuple[str, ...]] = MappingProxyType(
    {
        ServerConfig: (
            "listen",
            "allow",
            "app",
            "session",
            "message",
            "live_after_expiry",
            "max_connections",
            "max_connections_per_address",
            "handshakes",
            "handshake_timeout",
            "session_timeout",
            "receipt_timeout",
            "close_timeout",
            "reach_timeout",
            "keepalive",
            "max_message",
            "queue_messages",
            "queue_bytes",
        ),
        ClientConfig: (
            "listen",
            "connect",
            "server_name",
            "session",
            "live_after_expiry",
            "connect_timeout",
            "session_timeout",
            "close_timeout",
            "keepalive",
            "max_connections",
        ),
    }
)
"""By role: all that concerns one connection, and not the whole process."""

BESIDE_NO_TUNNEL = frozenset({"listen", "app", "connect", "json", "send", "follow", "explain"})
"""What a role cannot set itself where it has tunnels: it would hold for none of them."""
