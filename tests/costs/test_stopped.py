"""A signal ends an account, and what it had made is gone."""

from __future__ import annotations

import os
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest

from asynctls.config import CostsConfig
from asynctls.costs.asked import asked
from asynctls.errors import DemoError

if TYPE_CHECKING:
    from pathlib import Path


def found(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


@pytest.mark.one_loop
async def test_a_signal_leaves_no_key_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    keys = 0

    def tell(words: str) -> None:
        nonlocal keys
        if words.endswith("sessions"):
            keys = len([path for path in found(tmp_path) if path.suffix == ".key"])
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(DemoError, match="stopped by SIGTERM"):
        await asked(CostsConfig(), tell=tell)
    assert keys > 0
    assert found(tmp_path) == []
