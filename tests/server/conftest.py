"""Servers as processes, and identities for them."""

from tests.roles.conftest import asynctls, ca, issued

__all__ = ["asynctls", "ca", "issued"]
