"""Writes ``llms.txt``, the list of the pages, and ``llms-full.txt``, all pages in one text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from hidden import COMMENT
from sphinx.application import Sphinx

_TABLE = re.compile(r"```\{toctree\}\n:caption: (.+?)\n(?::.*\n)*\n((?:\S+\n)+)```")


def write(app: Sphinx, failure: Exception | None) -> None:
    """Writes both files beside the site's first page."""
    if failure is not None or app.builder.format != "html":
        return
    pages = _in_order(app)
    head = f"# lmflow\n\n> {_first_paragraph(app, app.config.root_doc)}\n"
    full = [f"{head}\nThe pages, one after the other.", *(_text(app, name) for name in pages)]
    out = Path(app.outdir)
    (out / "llms.txt").write_text("\n".join([head, *_list(app, pages)]) + "\n", "utf-8")
    (out / "llms-full.txt").write_text("\n\n---\n\n".join(full) + "\n", "utf-8")


def _list(app: Sphinx, pages: list[str]) -> Iterator[str]:
    """A line a page, under the captions of the tables of contents."""
    index = (app.srcdir / "index.md").read_text("utf-8")
    captions: dict[str, str] = {}
    for caption, entries in _TABLE.findall(index):
        captions |= dict.fromkeys(entries.split(), caption)
    section = ""
    for name in pages:
        caption = captions.get(name, section)
        if caption != section:
            yield f"\n## {caption}\n"
        section = caption
        title, target = app.env.titles[name].astext(), app.builder.get_target_uri(name)
        about = _first_paragraph(app, name)
        yield f"- [{title}]({target})" + (f": {about}" if about else "")


def _first_paragraph(app: Sphinx, name: str) -> str:
    """The first paragraph of a page as words, cut after 200 characters."""
    paragraph = next(iter(app.env.get_doctree(name).findall(nodes.paragraph)), None)
    words = " ".join(paragraph.astext().split()) if paragraph else ""
    return words if len(words) <= 200 else f"{words[:200].rpartition(' ')[0]} …"  # noqa: PLR2004


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


def _text(app: Sphinx, name: str) -> str:
    """A page without its comments; of a generated page, what the reader sees."""
    source = Path(app.env.doc2path(name)).read_text("utf-8")
    if "```{names}" in source or "```{commands}" in source:
        return app.env.get_doctree(name).astext()
    return COMMENT.sub("", source).strip()


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the writing, which comes last."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
