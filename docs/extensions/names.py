"""The directive ``names``: public names of lmflow with their docstrings, one name a line."""

from __future__ import annotations

import inspect
import re
from typing import Any

import attrs
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


def default_values(*event: Any) -> tuple[str, str | None] | None:
    """Shows the defaults of an attrs class as values; its ``__init__`` has only their places."""
    _app, what, _name, thing, _options, signature, returns = event
    if what not in {"class", "exception"} or not attrs.has(thing) or signature is None:
        return None
    fields = attrs.fields_dict(thing)

    def value(match: re.Match[str]) -> str:
        default = fields[match[1]].default
        if inspect.isroutine(default) or isinstance(default, type):
            return str(default.__name__)
        return "..." if isinstance(default, attrs.Factory) else repr(default)  # type: ignore[arg-type]

    shown = re.sub(r"attr_dict\['(\w+)'\]\.default", value, signature)
    return re.sub(r"\bNOTHING\b", "...", shown), returns


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the directive."""
    app.add_directive("names", Names)
    app.connect("autodoc-process-signature", default_values)
    return {"parallel_read_safe": True}
