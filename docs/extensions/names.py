"""The directive ``names``: public names of lmflow with their docstrings, one name a line."""

from __future__ import annotations

import inspect
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import lmflow as lf


class Names(SphinxDirective):
    """Documents each public name in its body: a table of first sentences, then every docstring."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Turns the names into the directives of autodoc."""
        names = [line.strip() for line in self.content if line.strip()]
        lines = ["```{eval-rst}", ".. currentmodule:: lmflow", "", *_table(names), ""]
        for name in names:
            lines += [*_documented(name), ""]
        return self.parse_text_to_nodes("\n".join([*lines, "```"]))


def _table(names: list[str]) -> list[str]:
    rows = [f"   {name}" for name in names]
    return [".. autosummary::", "   :nosignatures:", "", *rows]


def _documented(name: str) -> list[str]:
    thing: Any = getattr(lf, name)
    if isinstance(thing, type):
        return [f".. autoclass:: lmflow.{name}", "   :members:"]
    if inspect.isroutine(thing):
        return [f".. autofunction:: lmflow.{name}"]
    return [f".. autodata:: lmflow.{name}", "   :no-value:"]


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("names", Names)
    return {"parallel_read_safe": True}
