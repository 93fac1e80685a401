"""How Sphinx makes the site of docs/: `make docs`. Nothing is fetched; each warning is an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asynctls import __version__

if TYPE_CHECKING:
    import click
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
# Where state lies by default is told as it is for everybody.
os.environ.pop("XDG_STATE_HOME", None)

project = "asynctls"
copyright = "the asynctls authors"  # noqa: A001 - Sphinx names it
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "settings",
]
root_doc = "index"
exclude_patterns = ["_extensions"]

myst_heading_anchors = 3
# Two dashes begin an option, and quotes hold what is typed.
smartquotes = False

nitpicky = True
# What lies outside (there is no network to look it up in), and what lies within the rooms.
nitpick_ignore_regex = [
    ("py:.*", r"(?!asynctls).*"),
    ("py:.*", r"asynctls\.(?!alerts|errors|testing)\w+\..*"),
]

autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
# Else a property that is among the attributes of its class as well would stand there twice.
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"asynctls {version}"
html_copy_source = False
html_show_sphinx = False


def _escape(_app: Sphinx, _context: click.Context, lines: list[str]) -> None:
    """The help is plain text: an asterisk emphasizes nothing; nor is everybody's home mine."""
    lines[:] = [line.replace("*", r"\*").replace(str(Path.home()), "~") for line in lines]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("sphinx-click-process-options", _escape)
    app.connect("sphinx-click-process-description", _escape)
