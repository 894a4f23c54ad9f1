"""Leaves out of the site what a page tells its tests in comments."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

COMMENT = re.compile(r"^<!--.*?-->", re.DOTALL | re.MULTILINE)


def without_comments(app: Sphinx, docname: str, source: list[str]) -> None:  # noqa: ARG001 - the event's arguments
    """Makes each comment blank, so that the lines after it keep their numbers."""
    source[0] = COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers it."""
    app.connect("source-read", without_comments)
    return {"parallel_read_safe": True}
