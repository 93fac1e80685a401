"""The machine under the benchmarks: one core for who serves, another for who loads; processor time.

A figure is the processor time of a server's whole process tree, by the kernel's own account in
nanoseconds (Linux's clock of another process, clock_getcpuclockid(3)): it counts what was spent,
not what was waited for, so a load generator that is slow does not make a server look fast.
"""

from __future__ import annotations

import os
import platform
import re
import ssl
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LOADING", "SERVING", "cpu_s", "describe", "pinned", "resident_kib", "tree"]


_CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]
SERVING, LOADING = {_CORES[-1]}, {_CORES[0]}
"""A core for whoever serves, another for whoever loads; the same where there is only one."""


_SCHEDULED = 2


@contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_s(pid: int) -> float:
    """Seconds of processor time of a process and of all that descend from it, ended threads too."""
    return sum(time.clock_gettime(~process << 3 | _SCHEDULED) for process in tree(pid))


def resident_kib(pid: int) -> int:
    """What a process and its descendants hold in memory, shared pages counted by their share."""
    return sum(
        int(found[1])
        for process in tree(pid)
        if (found := re.search(r"^Pss:\s+(\d+)", _rollup(process), re.MULTILINE)) is not None
    )


def _rollup(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text()


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:
        # Only the thread that made a child has it: all of them, of which one may just have ended.
        for thread in Path(f"/proc/{each}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (thread / "children").read_text().split())
    return found


def describe() -> dict[str, str]:
    """What figures must be read with."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "processor": model[1] if model else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
    }
