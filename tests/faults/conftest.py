"""Real processes, and chance that can be had again."""

from __future__ import annotations

import os
import random
import sys

import pytest

from tests.roles.conftest import asynctls, ca, issued

__all__ = ["asynctls", "ca", "chance", "issued"]


@pytest.fixture
def chance() -> random.Random:
    """Chance, whose seed a failed test shows; ``FAULTS_SEED=N`` has the same once more."""
    seed = int(os.environ.get("FAULTS_SEED") or random.randrange(1 << 32))
    sys.stdout.write(f"FAULTS_SEED={seed}\n")
    return random.Random(seed)
