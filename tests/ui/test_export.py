"""A run as one file: it loads nothing, and says how much of the run it has."""

import re
from pathlib import Path

from lmflow.cli.loading.viewing import sources_of
from lmflow.ui.export import export_run


def test_a_file_is_whole_and_quiet(filled: Path) -> None:
    """The file has every execution up to the limit, no script and no address to load from."""
    text, count, total = export_run(sources_of(str(filled)), "last", 3)
    assert (3, 8) == (count, total)
    assert "first 3 of 8" in text
    assert 3 == text.count('<details class="box">')
    assert [] == re.findall(r"<script|<link|(?:src|href|action)=", text)
