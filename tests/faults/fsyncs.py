"""An fsync that fails, as on a disk that is about to die: by a library that is loaded first."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Fsyncs"]

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int passed_on(const char *name, int file) {
    const char *broken = getenv("FSYNC_BROKEN");
    if (broken && access(broken, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int)) dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return passed_on("fsync", file); }
int fdatasync(int file) { return passed_on("fdatasync", file); }
"""


class Fsyncs:
    """Those of the programs that are run with ``variables``."""

    def __init__(self, folder: Path) -> None:
        """They work.

        Args:
            folder: where files of its own can be.
        """
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("an fsync that fails needs a C compiler, cc")
        self._broken = folder / "fsync-broken"
        library, source = folder / "fsyncs.so", folder / "fsyncs.c"
        source.write_text(_SOURCE)
        compiling = (compiler, "-shared", "-fPIC", "-o", library, source, "-ldl")
        subprocess.run(compiling, check=True, capture_output=True)
        self.variables: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FSYNC_BROKEN": str(self._broken),
        }

    def fail(self) -> None:
        """Each fails from now on, by EIO."""
        self._broken.touch()

    def work(self) -> None:
        """They do again."""
        self._broken.unlink()
