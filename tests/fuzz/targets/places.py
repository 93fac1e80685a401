"""Addresses, endpoints and apps (`config.address`, `config.endpoint`): a value, or one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynctls.config.address import Address
from asynctls.config.endpoint import AppChoice, Endpoint
from tests.fuzz.texts import reads_back, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

_READ: Final[tuple[Callable[[str], object], ...]] = (
    Address.parse,
    lambda text: Endpoint.parse(text).relative_to(None),
    lambda text: AppChoice.parse(text).relative_to(None),
)


def run(data: bytes) -> bool:
    """A text, read as each of them."""
    text = text_of(data)
    return any([reads_back(text, read, str, ValueError) for read in _READ])


def seeds() -> dict[str, bytes]:
    """One of each form, and one that is nearly so."""
    made = {
        "ipv4": "127.0.0.1:8443",
        "ipv6": "[::1]:0",
        "zone": "[fe80::1%eth0]:443",
        "host": "server.example.:65535",
        "unix": "unix:/run/asynctls.sock",
        "home": "unix:~/socket",
        "app": "echo",
        "forward": "forward:127.0.0.1:5432",
        "forward-unix": "forward:unix:run/socket",
        "import": "package.module:app",
        "no-port": "127.0.0.1",
        "no-brackets": "::1:8443",
        "no-path": "unix:",
        "no-such-user": "unix:~nobody-of-that-name/socket",
        "no-ipv4": "1.2.3.4.5:6",
        "no-short-path": "unix:/" + "x" * 110,
    }
    return {name: text.encode() for name, text in made.items()}
