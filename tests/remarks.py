"""What asyncio says of the machine in debug mode, and no program of ours."""

from __future__ import annotations

__all__ = ["is_remark", "without_remarks"]


def is_remark(line: str) -> bool:
    """Whether it says that a step took long: where much else runs, any does now and then."""
    return "Executing <" in line and " took " in line


def without_remarks(text: str) -> str:
    """What a process wrote to standard error, but for these lines."""
    return "".join(line for line in text.splitlines(keepends=True) if not is_remark(line))
