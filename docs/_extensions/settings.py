"""The directive ``settings``: one table of the config, as it is declared in ``asynctls.config``.

::

    ```{settings} server
    ```
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from asynctls.config import TABLES, Setting, format_duration, settings
from asynctls.config.tunnels import TUNNEL_KEYS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_HEADINGS = ("Key, option, variable", "What for", "Default")
_WIDTHS = (30, 50, 20)


class Settings(SphinxDirective):
    """A table with a row for each setting: its names, its words with their limits, its default."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """The table's node."""
        group = nodes.tgroup(cols=len(_HEADINGS))
        group += [nodes.colspec(colwidth=width) for width in _WIDTHS]
        group += nodes.thead("", _row(*(nodes.paragraph(text=text) for text in _HEADINGS)))
        body = nodes.tbody()
        table = self.arguments[0]
        tunnel = TUNNEL_KEYS.get(TABLES[table], ())
        for setting in settings(TABLES[table]):
            words = _words(setting)
            if setting.name in tunnel:
                words += f" Also in [[{table}.tunnel]]."
            body += _row(_names(setting), nodes.paragraph(text=words), _default(setting))
        group += body
        return [nodes.table("", group, classes=["settings"])]


def _row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def _names(setting: Setting) -> nodes.Node:
    block = nodes.line_block()
    block += [
        nodes.line("", "", nodes.literal(text=name))
        for name in (setting.name, setting.option, setting.variable)
    ]
    return block


def _words(setting: Setting) -> str:
    about = setting.about
    words = f"{about.words[0].upper()}{about.words[1:]}."
    if setting.choices:
        words += f" One of: {', '.join(setting.choices)}."
    if setting.repeated:
        words += " A list; the option may be given more than once."
    limits = [
        f"{word} {format_duration(limit) if isinstance(limit, timedelta) else limit}"
        for word, limit in (("at least", about.least), ("at most", about.most))
        if limit is not None
    ]
    return f"{words} {', '.join(limits).capitalize()}." if limits else words


def _default(setting: Setting) -> nodes.Node:
    if not setting.default:
        return nodes.paragraph()
    default = setting.default.replace(str(Path.home()), "~")
    return nodes.paragraph("", "", nodes.literal(text=default))


def setup(app: Sphinx) -> dict[str, object]:
    """Registers the directive."""
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
