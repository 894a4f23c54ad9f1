"""Leads links to files of the checkout that the site shows to their pages."""

from __future__ import annotations

import posixpath
import re

from sphinx.application import Sphinx

PAGES = {
    "../README.md": "index.md",
    "../CHANGELOG.md": "project/changes.md",
    "../CONTRIBUTING.md": "project/contributing.md",
    "../bench/README.md": "project/measurements.md",
    "../lmflow/execution/README.md": "project/execution.md",
    "../lmflow/replays/README.md": "project/replays.md",
    "../lmflow/ui/README.md": "project/screens.md",
}
"""Files beside the pages' folder, and the pages that include them."""

INCLUDED = {page: file for file, page in PAGES.items() if page != "index.md"}
_LINK = re.compile(r"\]\(([^)#:\s]+\.md)")
_FOLDER = re.compile(r"\[([^]]+)\]\((?![^)]*(?:\.md|:|^#))[^)]*\)")
"""A link to a folder or a file of code, which the site doesn't show."""


def rewrite(app: Sphinx, docname: str, source: list[str]) -> None:
    """Rewrites the links of a page; one that includes a file gets the file's text, and its links
    as seen from the page.
    """
    page = f"{docname}.md"
    text, base = source[0], posixpath.dirname(page)
    if file := INCLUDED.get(page):
        text += _FOLDER.sub(r"\1", (app.srcdir / file).read_text(encoding="utf-8"))
        base = posixpath.dirname(file)

    def target(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(base, match[1]))
        path = path.removeprefix("../docs/")
        path = PAGES.get(path, path)
        return f"]({posixpath.relpath(path, posixpath.dirname(page) or '.')}"

    source[0] = _LINK.sub(target, text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the rewriting."""
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True}
