"""One target under atheris: ``python -m tests.fuzz.under_atheris TARGET [libFuzzer's options]``."""

from __future__ import annotations

import importlib
import sys
import warnings

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

# Before anything of the package is imported: what is measured is what this hook has seen.
with atheris.instrument_imports(include=["asynctls"]):
    importlib.import_module(f"tests.fuzz.targets.{sys.argv[1]}")

from tests.fuzz.catalogue import target

# A library warns of some oddities that it reads all the same.
warnings.simplefilter("ignore")
tried = target(sys.argv[1])
atheris.Setup([sys.argv[0], *sys.argv[2:]], lambda data: tried.run(data) and None)
atheris.Fuzz()
