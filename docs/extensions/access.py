"""Mends in the written pages what axe-core finds in those of Sphinx and furo."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx

_PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*?</dd>\n)+)</dl>")


def _parameters(match: re.Match[str]) -> str:
    """A signature's parameters as blocks: they are a list of definitions without terms."""
    rows = match[1].replace("<dd>", "<div>").replace("</dd>", "</div>")
    return f'<div class="sig-parameters">\n{rows}</div>'


_MENDINGS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r'role="heading"(?! aria)'), 'role="heading" aria-level="2"'),
    (
        re.compile(r'<aside class="sidebar-drawer">'),
        '<aside class="sidebar-drawer" aria-label="Pages">',
    ),
    (
        re.compile(r'<aside class="(toc-drawer[^"]*)">'),
        r'<aside class="\1" aria-label="On this page">',
    ),
    (re.compile(r"<pre>"), '<pre tabindex="0">'),
    (re.compile(r'<th class="([^"]*)"><p></p></th>'), r'<td class="\1"></td>'),
    (
        re.compile(r'(<article role="main" id="furo-main-content">)(?!.*<h1)', re.DOTALL),
        r"\1<h1>Search</h1>",
    ),
    (_PARAMETERS, _parameters),
)


def mend(app: Sphinx, failure: Exception | None) -> None:
    """Writes each page again, mended."""
    if failure is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = before = path.read_text(encoding="utf-8")
        for pattern, replacement in _MENDINGS:
            text = pattern.sub(replacement, text)
        if text != before:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the mending, after the pages are written."""
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True}
