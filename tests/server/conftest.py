"""Servers as processes, and identities for them."""

from tests.roles.conftest import asynctls, issued

__all__ = ["asynctls", "issued"]
