"""The files that pages load are those that were vendored, and small."""

import hashlib
from importlib import resources

from lmflow.ui.assets import HTMX_SHA256, TYPES, load_assets


def test_htmx_is_the_published_file() -> None:
    """The vendored script has the published hash, and its licence stands beside it."""
    static = resources.files("lmflow.ui") / "static"
    assert HTMX_SHA256 == hashlib.sha256((static / "htmx.min.js").read_bytes()).hexdigest()
    assert "Zero-Clause BSD" in (static / "htmx.LICENSE.txt").read_text()


def test_own_script_is_small() -> None:
    """The view's own script has at most 15 kB, and every file of the table is there."""
    assets = load_assets()
    assert set(TYPES) == set(assets)
    assert 15_000 >= len(assets["app.js"].content)
