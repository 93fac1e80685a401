"""Replay: what was recorded once, sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynctls.probe.attack import Attack

__all__ = ["ATTACKS"]

ATTACKS: tuple[Attack, ...] = ()
