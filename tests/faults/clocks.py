"""The clock of a machine, which can be set while programs run on it: by libfaketime.

Elapsed time goes on as it is, as on any machine whose clock is set.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.roles.processes import Process

__all__ = ["Clock", "cpu_s"]

# A clock that was set is noticed within a minute. These looks are half a second apart.
_LOOK_OFTEN = """
from asynctls.enrolment import crl_timer, renewal
from asynctls.session import dates
renewal._LONGEST_LOOK_S = crl_timer._REMIND_S = dates._LOOK_AGAIN_S = 0.5
"""


class Clock:
    """The time of a machine: the real one, and so many hours."""

    def __init__(self, folder: Path) -> None:
        """Shows the real time.

        Args:
            folder: where its files can be.
        """
        self._file = folder / "offset"
        self._folder = folder
        self.set(0)

    def set(self, hours: int) -> None:
        """Sets it; every program sees that at its next look."""
        self._file.write_text(f"{hours:+d}h\n")

    def variables(self) -> Mapping[str, str]:
        """What has a program, and all that it starts, live by this clock."""
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            pytest.skip("libfaketime is not installed ('make peers' installs it)")
        (self._folder / "sitecustomize.py").write_text(_LOOK_OFTEN)
        before = filter(None, [os.environ.get("PYTHONPATH")])
        return {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # The second is its name from version 0.9.10 on.
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": os.pathsep.join((str(self._folder), *before)),
        }


def cpu_s(process: Process) -> float:
    """Seconds of a processor that it has had."""
    stat = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
