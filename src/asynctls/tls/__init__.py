"""TLS 1.2 over asyncio, with a decision on each peer before our last flight leaves (RFC 5246).

`contexts` pins what is spoken, `engine` is a connection without I/O, `stream` the same over an
asyncio reader and writer, `relay` carries one stream into another, and `records` reads what travels
in the clear.
"""

from asynctls.tls.addresses import address_of, network_of
from asynctls.tls.contexts import (
    ClientCertificate,
    bootstrap_context,
    client_context,
    client_context_for_any_host,
    server_context,
    try_out,
)
from asynctls.tls.engine import Engine
from asynctls.tls.gate import Gate
from asynctls.tls.liveness import KEEPALIVE_S
from asynctls.tls.plain import PlainStream
from asynctls.tls.records import Meter, Part
from asynctls.tls.relay import Duplex, Relay
from asynctls.tls.sides import Admit, Side, Verdict
from asynctls.tls.stream import Stream
from asynctls.tls.tcp import look_up, open_tcp

__all__ = [
    "KEEPALIVE_S",
    "Admit",
    "ClientCertificate",
    "Duplex",
    "Engine",
    "Gate",
    "Meter",
    "Part",
    "PlainStream",
    "Relay",
    "Side",
    "Stream",
    "Verdict",
    "address_of",
    "bootstrap_context",
    "client_context",
    "client_context_for_any_host",
    "look_up",
    "network_of",
    "open_tcp",
    "server_context",
    "try_out",
]
