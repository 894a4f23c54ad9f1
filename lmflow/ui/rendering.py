"""Templates: whatever they print is cleaned of control characters and escaped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import jinja2
from markupsafe import Markup

from lmflow.errors import short
from lmflow.errors.words import visible
from lmflow.ui.drawing import bar, difference, grid_cells, state
from lmflow.ui.graph import draw_row
from lmflow.ui.pages import link
from lmflow.ui.plots import curve_plot
from lmflow.values.record import pretty
from lmflow.views.amounts import dollars
from lmflow.views.lines import counted, took, when

_LONGEST = 60


@attrs.frozen(eq=False)
class Templates:
    """Renders the templates of the package."""

    environment: jinja2.Environment

    def page(self, template: str, values: Mapping[str, Any]) -> str:
        """Render a whole page."""
        return self.environment.get_template(template).render(values)

    def fragment(self, template: str, block: str, values: Mapping[str, Any]) -> str | None:
        """Render one block of a page; ``None`` if the template has no such block."""
        loaded = self.environment.get_template(template)
        if block not in loaded.blocks:
            return None
        return "".join(loaded.blocks[block](loaded.new_context(dict(values))))


def make_templates() -> Templates:
    """Return the templates, with the filters that they share."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lmflow.ui"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "dollars": dollars,
        "nanodollars": nanodollars,
        "took": took,
        "when": when,
        "ago": ago,
        "short": short,
        "number": number,
        "score": score,
        "pretty": lambda value: value if isinstance(value, str) else pretty(value),
        "line": line,
        "brief": brief,
    }
    environment.globals |= {
        "link": link,
        "counted": counted,
        "bar": bar,
        "state": state,
        "difference": difference,
        "draw_row": draw_row,
        "grid_cells": grid_cells,
        "curve_plot": curve_plot,
    }
    # A fragment is a block alone, which doesn't see what its page imports.
    parts: Any = environment.get_template("parts.html").module
    environment.globals |= {"version_of": parts.version_of, "score_list": parts.score_list}
    environment.globals["values"] = parts.values
    for name in ("replay", "versions"):
        environment.globals[name] = environment.get_template(f"parts_{name}.html").module
    return Templates(environment)


def cleaned(value: Any) -> Any:
    """Return what a template prints: text without control and format characters.

    Markup is made by this package alone, of text that was cleaned and escaped.
    """
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return visible(value if isinstance(value, str) else str(value))


def number(value: float | None) -> str:
    """Return a count with its thousands parted; empty for ``None``."""
    return "" if value is None else f"{value:,}"


def score(value: float | None) -> str:
    """Return a score with three digits; empty for ``None``."""
    return "" if value is None else f"{value:.3f}"


def nanodollars(value: int | None) -> str:
    """Return nano-dollars as dollars; empty for ``None``."""
    return "" if value is None else dollars(value / 1e9)


def ago(at: str) -> str:
    """Return a time of a list, ``2026-11-23 10:30:00``, without the year if that is this one."""
    year = f"{dt.datetime.now(tz=dt.UTC).year}-"
    return at.removeprefix(year)


def line(value: Any, width: int = _LONGEST) -> str:
    """Return a value on one line of at most ``width`` characters."""
    text = value if isinstance(value, str) else "" if value is None else pretty(value)
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


def brief(
    record: Mapping[str, Any] | None, width: int = 90, *, without: Sequence[str] = ("id",)
) -> Markup:
    """Draw a record on a line: the name and the value of each field, shortened."""
    fields = {name: value for name, value in (record or {}).items() if name not in without}
    each = max(width // max(len(fields), 1), 16)
    field = Markup('<span class="name">{}</span> {}')
    drawn = [
        field.format(visible(name), visible(line(value, each))) for name, value in fields.items()
    ]
    return Markup('<span class="brief">{}</span>').format(Markup(" · ").join(drawn))
