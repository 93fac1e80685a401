"""What the operations were timed on, for people."""

from __future__ import annotations

import platform
import ssl
from pathlib import Path

__all__ = ["machine"]


def machine() -> str:
    """Processor, system, Python and TLS library; blocks for a moment."""
    return ", ".join(
        (
            _processor(),
            f"{platform.system()} {platform.release()}",
            f"Python {platform.python_version()}",
            ssl.OPENSSL_VERSION,
        )
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()
