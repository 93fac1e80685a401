"""Where something listens or is found: ``HOST:PORT``, ``[::1]:PORT`` for IPv6 (RFC 3986, 3.2.2)."""

from __future__ import annotations

import ipaddress
import re

import msgspec

__all__ = ["Address"]

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_LARGEST_PORT = 65535


class Address(msgspec.Struct, frozen=True):
    """A host (name, IPv4 or IPv6 address, without brackets) and a TCP port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads ``HOST:PORT`` or ``[IPV6]:PORT``.

        Raises:
            ValueError: with one sentence that says what is wrong with the text.
        """
        if text.startswith("["):
            host, bracket, port = text[1:].partition("]:")
            if not bracket:
                raise ValueError("an IPv6 address is written [ADDRESS]:PORT")
            _check_ipv6(host)
        else:
            host, colon, port = text.rpartition(":")
            if not colon:
                raise ValueError("the port is missing (HOST:PORT)")
            if ":" in host:
                raise ValueError("an IPv6 address is written in brackets ([::1]:8443)")
            _check_host(host)
        return cls(host, _port(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _port(text: str) -> int:
    # isascii: int() takes other scripts' digits, and "+1", " 1", "1_0" as well.
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= _LARGEST_PORT):
        raise ValueError(f"the port is a number from 0 to {_LARGEST_PORT}")
    return int(text)


def _check_ipv6(host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError("what stands in brackets is no IPv6 address") from None


def _check_host(host: str) -> None:
    if not host:
        raise ValueError("the host is missing (all addresses of this machine: 0.0.0.0 or [::])")
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError("the host is neither a name nor an IP address")
    if host.replace(".", "").isdigit():
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError("the host looks like an IPv4 address and is none") from None
