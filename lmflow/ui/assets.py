"""The files that pages load: a fixed table, so that no path of a request reaches the disk."""

from __future__ import annotations

import hashlib
from importlib import resources

import attrs

TYPES = {
    "app.css": "text/css",
    "app.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""The names of the files and their media types."""

HTMX_SHA256 = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"
"""The sha256 of ``htmx.min.js`` of htmx 2.0.10, as the npm registry has it."""


@attrs.frozen
class Asset:
    """A file that pages load; ``tag`` changes with its content."""

    content: bytes
    media: str
    tag: str


def load_assets() -> dict[str, Asset]:
    """Read all files of the table, by name."""
    return {name: _asset(name, media) for name, media in TYPES.items()}


def _asset(name: str, media: str) -> Asset:
    content = (resources.files("lmflow.ui") / "static" / name).read_bytes()
    return Asset(content, media, hashlib.sha256(content).hexdigest()[:12])
