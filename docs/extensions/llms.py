"""Writes ``llms.txt``, the list of the pages, and ``llms-full.txt``, all pages in one text."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)


def write(app: Sphinx, failure: Exception | None) -> None:
    """Writes both files beside the site's first page."""
    if failure is not None or app.builder.format != "html":
        return
    pages = _in_order(app)
    titles = {name: app.env.titles[name].astext() for name in pages}
    rows = [f"- [{titles[name]}]({app.builder.get_target_uri(name)})" for name in pages]
    head = f"# lmflow\n\n> {_summary(app)}\n\n"
    full = [f"{head}The pages, one after the other."]
    full += [_text(app, name) for name in pages]
    out = Path(app.outdir)
    (out / "llms.txt").write_text(f"{head}## Pages\n\n" + "\n".join(rows) + "\n", "utf-8")
    (out / "llms-full.txt").write_text("\n\n---\n\n".join(full) + "\n", "utf-8")


def _in_order(app: Sphinx) -> list[str]:
    """The pages in the order of the tables of contents, each once."""
    pages: dict[str, None] = {}

    def visit(name: str) -> None:
        pages[name] = None
        for child in app.env.toctree_includes.get(name, []):
            if child not in pages:
                visit(child)

    visit(app.config.root_doc)
    return list(pages)


def _summary(app: Sphinx) -> str:
    first = (app.srcdir / "index.md").read_text("utf-8").split("\n\n")[1]
    return " ".join(first.split())


def _text(app: Sphinx, name: str) -> str:
    """A page without its comments; of a generated page, what the reader sees."""
    source = Path(app.env.doc2path(name)).read_text("utf-8")
    if "```{names}" in source or "```{commands}" in source:
        return app.env.get_doctree(name).astext()
    return _COMMENT.sub("", source).strip()


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the writing, which comes last."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
