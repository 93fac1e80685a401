"""Someone else's tests, outside the repository, with the fixtures that the wheel brings."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
TEN_LINES = """\
    import asynctls

    async def greet(session):
        await session.send(b"hello " + session.peer.name.encode())

    async def test_greeting(asynctls_pair, asynctls_identity):
        async with asynctls_pair(greet) as pair:
            assert await pair.session.receive() == b"hello client"
            other = asynctls_identity("other")
            async with asynctls.connect(pair.address, server_name="server", identity=other) as it:
                assert await it.receive() == b"hello other"
"""
STREAMS = """\
    import asyncio

    async def shout(stream):
        async for line in stream:
            stream.write(line.upper())

    def test_without_a_plugin_for_asynchronous_tests(asynctls_stream_pair):
        async def main():
            async with asynctls_stream_pair(shout) as pair:
                pair.stream.write(b"hello")
                pair.stream.write_eof()
                assert await pair.stream.read() == b"HELLO"
        asyncio.run(main())
"""
UNUSED = """\
    import os
    import sys

    def test_nothing_is_loaded_that_nobody_asked_for():
        plugin = sys.modules["asynctls.testing.plugin"]
        assert plugin.__file__.startswith(os.environ["PYTHONPATH"])
        assert not {"cryptography", "structlog", "uvloop", "h11"} & set(sys.modules)
"""


def guide() -> str:
    """The guide's own examples, as one file."""
    blocks = (ROOT / "docs" / "guide" / "testing.md").read_text().split("```python\n")[1:]
    return "\n".join(block.partition("```")[0] for block in blocks)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as an installer lays it out."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": ""},
    )
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    return site


@pytest.mark.parametrize(
    "test",
    [TEN_LINES, STREAMS, UNUSED, guide()],
    ids=["ten lines", "streams", "none", "guide"],
)
def test_a_test_file_of_someone_elses_has_the_fixtures(
    installed: Path, tmp_path: Path, test: str
) -> None:
    (tmp_path / "test_theirs.py").write_text(dedent(test))
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"),
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        timeout=50,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
