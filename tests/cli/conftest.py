"""The commands as a person or a script runs them, with an environment of their own."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest
import structlog

from asynctls.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs ``asynctls`` with these words, to its end."""

    def __call__(
        self, *words: str, given: str = "", environ: Mapping[str, str] | None = None
    ) -> Ended: ...


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, show = root.handlers[:], warnings.showwarning
    yield
    logging.captureWarnings(capture=False)
    warnings.showwarning = show
    root.handlers[:] = handlers
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and none of the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("ASYNCTLS_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def asynctls(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    def run(*words: str, given: str = "", environ: Mapping[str, str] | None = None) -> Ended:
        (tmp_path / "stdin").write_text(given)
        with monkeypatch.context() as patch, (tmp_path / "stdin").open() as stdin:
            patch.setattr(sys, "stdin", stdin)
            for name, value in (environ or {}).items():
                patch.setenv(name, value)
            capfd.readouterr()
            with pytest.raises(SystemExit) as ended:
                main(words)
            # A command's process would be over; what others start would ignore Ctrl-C as well.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            gc.unfreeze()
            gc.enable()
        printed = capfd.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(code, printed.out, printed.err)

    return run
