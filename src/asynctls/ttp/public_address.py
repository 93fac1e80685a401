"""Where others find this TTP: the address in its join strings, the names in its certificate.

A running TTP writes its public address into the state folder, since only it knows the port that it
really listens on; ``asynctls ttp token`` reads it there.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from asynctls.config import Address
from asynctls.errors import CertificateError, ConfigError, Fault, StateError
from asynctls.pki.names import NameKind, format_san, kind_of, parse_san
from asynctls.state import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from asynctls.config import TTPConfig

__all__ = ["own_names", "public_address", "read_address", "token_address", "write_address"]

_FILE = "address"


def public_address(config: TTPConfig, *, port: int) -> Address:
    """``public``, else the first ``name`` or the listen address with the port that is listened on.

    Raises:
        ConfigError: the TTP listens on every address and has no name, so nobody could be told
            where it is; or a ``name`` is no DNS name or IP address.
    """
    names = _given_names(config)
    if config.public is not None:
        return config.public
    if names:
        return Address(names[0], port)
    if _is_wildcard(config.listen.host):
        raise ConfigError(
            Fault(
                "ttp.name",
                "not set",
                f"a TTP that listens on every address ({config.listen.host}) must be told by which "
                "name or address others reach it: --name DNS-or-IP",
            )
        )
    return Address(config.listen.host, port)


def own_names(config: TTPConfig) -> tuple[str, ...]:
    """The names in the TTP's own certificate: its public one first, ``localhost``, this machine's.

    Raises:
        ConfigError: as for :func:`public_address`.
    """
    public_address(config, port=config.listen.port)
    names = dict.fromkeys(_given_names(config))
    automatic = [] if _is_wildcard(config.listen.host) else [config.listen.host]
    for name in (*automatic, "localhost", socket.gethostname()):
        try:
            names[format_san(parse_san(name))] = None
        except CertificateError:
            # A machine may be called what no certificate can hold (an underscore, a zone).
            continue
    return tuple(names)


def write_address(folder: Path, address: Address) -> None:
    """Leaves the public address in the state folder; blocking.

    Raises:
        StateError: the folder cannot be written.
    """
    write_atomically(folder / _FILE, f"{address}\n".encode())


def read_address(folder: Path) -> Address | None:
    """The public address that a TTP left in its state folder; None before its first start.

    Raises:
        StateError: the file cannot be read, or holds no address.
    """
    try:
        return Address.parse((folder / _FILE).read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(
            f"{folder / _FILE} does not hold the TTP's address ({error}); start 'asynctls ttp', "
            "which writes it anew"
        ) from error


def token_address(config: TTPConfig) -> Address:
    """The address for a join string: the running (or last run) TTP's, else the one to be; blocking.

    Raises:
        ConfigError: the TTP was never started and ``name`` is not set, or its port is not known
            before it runs.
        StateError: as for :func:`read_address`.
    """
    known = read_address(config.state)
    if known is not None and config.public is None:
        return known
    if config.public is None and not config.name:
        raise ConfigError(
            Fault(
                "ttp.name",
                "not set",
                "a token made before the TTP's first start must say where the TTP will be: --name "
                "DNS-or-IP; or start 'asynctls ttp' first",
            )
        )
    if config.public is None and config.listen.port == 0:
        raise ConfigError(
            Fault(
                "ttp.listen",
                "setting",
                "which port this will be is not known before the TTP's first start: start "
                "'asynctls ttp' first, or choose a port",
            )
        )
    return public_address(config, port=config.listen.port)


def _given_names(config: TTPConfig) -> tuple[str, ...]:
    names, faults = [], []
    for text in (*(() if config.public is None else (config.public.host,)), *config.name):
        try:
            name = format_san(parse_san(text))
        except CertificateError as error:
            faults.append(Fault("ttp.name", "setting", str(error)))
            continue
        if kind_of(name) is NameKind.URI:
            problem = f"{text!r} is a URI; a TTP is connected to by a DNS name or an IP address"
            faults.append(Fault("ttp.name", "setting", problem))
        names.append(name)
    if faults:
        raise ConfigError(*faults)
    return tuple(names)


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
