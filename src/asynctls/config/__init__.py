"""Settings, typed: TOML file, environment and command line in; a frozen struct or all faults out.

Each table is declared once, in ``tables``; the command line takes its options from ``settings()``.
"""

from __future__ import annotations

from asynctls.config.about import About
from asynctls.config.address import Address
from asynctls.config.alike import KeyTypeName, LogFormat, ProfileName, state_folder
from asynctls.config.durations import format_duration, parse_duration
from asynctls.config.endpoint import AppChoice, Endpoint
from asynctls.config.loading import check_file, load
from asynctls.config.restart import changes, restart_faults
from asynctls.config.secret_text import SecretText, read_join
from asynctls.config.settings import Setting, settings
from asynctls.config.tables import (
    TABLES,
    ClientConfig,
    CostsConfig,
    DemoConfig,
    IdentityConfig,
    ProbeConfig,
    RoleConfig,
    ServerConfig,
    TTPConfig,
)

__all__ = [
    "TABLES",
    "About",
    "Address",
    "AppChoice",
    "ClientConfig",
    "CostsConfig",
    "DemoConfig",
    "Endpoint",
    "IdentityConfig",
    "KeyTypeName",
    "LogFormat",
    "ProbeConfig",
    "ProfileName",
    "RoleConfig",
    "SecretText",
    "ServerConfig",
    "Setting",
    "TTPConfig",
    "changes",
    "check_file",
    "format_duration",
    "load",
    "parse_duration",
    "read_join",
    "restart_faults",
    "settings",
    "state_folder",
]
