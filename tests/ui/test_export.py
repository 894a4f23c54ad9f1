"""A run as one file: it loads nothing, and says how much of the run it has."""

import re
from pathlib import Path

from browsing import browsing
from hostile_text import hostile_store

from lmflow.cli.loading.viewing import sources_of
from lmflow.ui.export import export_run


def test_a_file_is_whole_and_quiet(filled: Path) -> None:
    """The file has every execution up to the limit, no script and no address to load from."""
    text, count, total = export_run(sources_of(str(filled)), "last", 3)
    assert (3, 8) == (count, total)
    assert "first 3 of 8" in text
    assert 3 == text.count('<details class="box">')
    assert [] == re.findall(r"<script|<link|(?:src|href|action)=", text)


def test_hostile_text_stays_text_in_a_file(tmp_path: Path) -> None:
    """A browser that opens the file of hostile text runs and loads nothing, and shows its style."""
    ids = hostile_store(tmp_path / "store.db")
    text, _, _ = export_run(sources_of(str(tmp_path / "store.db")), ids.evaluations[0], 100)
    file = tmp_path / "run.html"
    file.write_text(text, encoding="utf-8")
    with browsing() as context:
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on(
            "request", lambda sent: said.append(sent.url) if "run.html" not in sent.url else None
        )
        page.goto(file.as_uri())
        assert [] == said
        assert "13px" == page.evaluate("getComputedStyle(document.documentElement).fontSize")
