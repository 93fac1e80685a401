"""Exhaustion: somebody who would have the server serve nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctls.probe.attack import Attack

__all__ = ["ATTACKS"]

ATTACKS: tuple[Attack, ...] = ()
